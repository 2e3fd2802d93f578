"""Claims of layer 3: what a clock and a power limit do to time and watts.

`left out` means that the judged job or network took no part in the fit.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.power.clock import (
    FITTED_STAGE,
    OTHER_STAGE,
    capped_gpu,
    capped_jobs,
    capped_speed,
    capped_sweeps,
    clock_job,
    clock_power_error,
    fit_capping,
    fit_clock,
    fit_limited,
    limited_sweep,
)
from tokenfleet.envs.fitting.clock_law import ClockLaw, Sweep, best_clock, fit_clock_law
from tokenfleet.envs.fitting.errors import Array, scaled_errors
from tokenfleet.envs.fitting.least_squares import factors
from tokenfleet.envs.layers.gpu import clock_stretch

STEP = 0.57
"""Clock fraction below which the A40's backward passes are quicker, by 7 to 9 %, than clocks above it say."""
BINDS = 0.83
"""Clock fraction from which on its limit binds in them."""


def clock_time() -> Comparison:
    """Time of compute-bound work at 38 clocks over its best scale, jobs that were not fitted (Perseus)."""
    fit = fit_clock()
    errors = {
        name: scaled_errors(clock_stretch(job.clock.to_numpy(), fit.memory_fraction), job.time_s.to_numpy())
        for name, job in _other_jobs().items()
    }
    return _compare_jobs(errors, "time_s")


def clock_power() -> Comparison:
    """Board power of compute-bound work at 38 clocks [W], jobs that were not fitted (Perseus)."""
    fit = fit_clock()
    parameters = fit.static_w, fit.voltage_floor_fraction, fit.memory_fraction
    errors = {name: clock_power_error(job, *parameters) for name, job in _other_jobs().items()}
    return _compare_jobs(errors, "watts")


def capped_training_speed() -> Comparison:
    """Speed of training under a power limit over its speed at 250 W, networks that were not fitted (Zeus)."""
    rows = capped_jobs()
    frames = []
    for network in rows.network.unique():
        fit, mine = fit_capping(network), rows[rows.network == network]
        gpu = capped_gpu(fit.voltage_floor_fraction)
        frames.append(mine.assign(predicted=capped_speed(gpu, fit.demand_ratio, mine)))
    rows = pd.concat(frames)
    return Comparison(rows.speed.to_numpy(), rows.predicted.to_numpy(), tuple(rows.network))


def limited_clocks(quantity: str) -> Comparison:
    """Perseus's A40: half of the clocks of each sweep, the board's law and the job's numbers from the other half."""
    return _halves(
        [limited_sweep(s, i) for s in (FITTED_STAGE, OTHER_STAGE) for i in ("forward", "backward")], quantity
    )


def limited_sweep_left_out(quantity: str) -> Comparison:
    """The forward pass of another stage: the board's law from the first, its own numbers from three low clocks."""
    law, sweep = fit_limited(), limited_sweep(OTHER_STAGE, "forward")
    known = law.of_job(sweep.at(slice(0, 3)))
    return _of_sweep(known, sweep.at(slice(3, None)), quantity)


def limited_best_clock(instruction: str) -> Comparison:
    """Clock of the least energy of two sweeps of the A40, by half of their points."""
    sweeps = [limited_sweep(stage, instruction) for stage in (FITTED_STAGE, OTHER_STAGE)]
    predicted = [float(sweep.clock_fraction[_predicted_j(sweep).argmin()]) for sweep in sweeps]
    return Comparison(np.array([best_clock(s) for s in sweeps]), np.array(predicted), tuple(s.job for s in sweeps))


def best_clock_without_step() -> Comparison:
    """Clock of the least energy of the A40's backward passes, had they no step in time, by half of their points."""
    sweeps = [limited_sweep(stage, "backward") for stage in (FITTED_STAGE, OTHER_STAGE)]
    predicted = [float(sweep.clock_fraction[_predicted_j(sweep).argmin()]) for sweep in sweeps]
    smooth = [best_clock(_without_step(sweep)) for sweep in sweeps]
    return Comparison(np.array(smooth), np.array(predicted), tuple(sweep.job for sweep in sweeps))


def energy_at_predicted_clock(instruction: str) -> Comparison:
    """Energy of the A40 at the clock that half of a sweep calls best, over the least of the sweep."""
    sweeps = [limited_sweep(stage, instruction) for stage in (FITTED_STAGE, OTHER_STAGE)]
    least_j = np.array([float((s.time_s * s.power_w).min()) for s in sweeps])
    chosen_j = np.array([float((s.time_s * s.power_w)[_predicted_j(s).argmin()]) for s in sweeps])
    return Comparison(least_j, chosen_j, tuple(sweep.job for sweep in sweeps))


def capped_halves(quantity: str) -> Comparison:
    """Zeus's V100: half of the power limits of each job from the other half."""
    return _halves(capped_sweeps(), quantity)


CLAIMS = (
    Claim("Perseus, time by clock", clock_time, 0.01),
    Claim("Perseus, power by clock", clock_power, 0.02),
    Claim(
        "Perseus A40 at its limit, time by clock, half of a sweep by the other", partial(limited_clocks, "time"), 0.05
    ),
    Claim(
        "Perseus A40 at its limit, power by clock, half of a sweep by the other", partial(limited_clocks, "power"), 0.06
    ),
    Claim(
        "Perseus A40 at its limit, time by clock, sweep left out",
        partial(limited_sweep_left_out, "time"),
        0.05,
    ),
    Claim(
        "Perseus A40 at its limit, power by clock, sweep left out",
        partial(limited_sweep_left_out, "power"),
        0.06,
    ),
    Claim(
        "Perseus A40 at its limit, clock of the least energy",
        partial(limited_best_clock, "forward"),
        0.08,
        of_each=True,
        judged_by="Clock of the least energy of the A40's forward passes, by half of their points, 0.026 off; 8 % of "
        "it are 0.05 of the highest clock",
    ),
    Claim(
        "Perseus A40 at its limit, clock of the least energy, backward",
        partial(limited_best_clock, "backward"),
        judged_by="The same of its backward passes, 0.052 off: they took 5 % longer at 0.58 of the highest clock than "
        "at 0.54, and no law has a faster clock take longer",
    ),
    Claim(
        "Perseus A40 at its limit, clock of the least energy, backward, without the step",
        best_clock_without_step,
        0.08,
        of_each=True,
        judged_by="The same had they no such step, times below 0.57 going on from those above as a + b / F: 0.009 off",
    ),
    Claim("Perseus A40 at its limit, energy at the clock found", partial(energy_at_predicted_clock, "forward"), 0.01),
    Claim(
        "Perseus A40 at its limit, energy at the clock found, backward",
        partial(energy_at_predicted_clock, "backward"),
        judged_by="The same of its backward passes: what the step costs whoever trusts the half",
    ),
    Claim("Zeus, speed under a power limit", capped_training_speed, 0.05),
    Claim(
        "Zeus, time by power limit, half of a sweep by the other",
        partial(capped_halves, "time"),
        0.05,
    ),
    Claim(
        "Zeus, power by power limit, half of a sweep by the other",
        partial(capped_halves, "power"),
        0.06,
    ),
)


def _without_step(sweep: Sweep) -> Sweep:
    """A backward pass of the A40 with the times of low clocks that those above the step would go on to."""
    clock = sweep.clock_fraction
    above = (clock > STEP) & (clock < BINDS)
    start_s, core_s = factors([np.ones(above.sum()), 1.0 / clock[above]], sweep.time_s[above])
    return replace(sweep, time_s=np.where(clock > STEP, sweep.time_s, start_s + core_s / clock))


def _predicted_j(sweep: Sweep) -> Array:
    """Energy of a sweep's job at all its clocks, by a law of every second one [J]."""
    time_s, power_w = fit_clock_law([sweep.at(slice(0, None, 2))]).predicted(sweep)
    return time_s * power_w


def _halves(sweeps: list[Sweep], quantity: str) -> Comparison:
    """Every second point of some sweeps, each by a law of its other points."""
    parts = [_of_sweep(fit_clock_law([s.at(slice(0, None, 2))]), s.at(slice(1, None, 2)), quantity) for s in sweeps]
    return Comparison(
        np.concatenate([part.measured for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        tuple(name for part in parts for name in part.group),
    )


def _of_sweep(law: ClockLaw, sweep: Sweep, quantity: str) -> Comparison:
    time_s, power_w = law.predicted(sweep)
    measured, predicted = (sweep.time_s, time_s) if quantity == "time" else (sweep.power_w, power_w)
    return Comparison(measured, predicted, (sweep.job,) * len(measured))


def _other_jobs() -> dict[str, pd.DataFrame]:
    jobs = [(FITTED_STAGE, "backward"), (OTHER_STAGE, "forward"), (OTHER_STAGE, "backward")]
    return {f"stage {stage} {instruction}": clock_job(stage, instruction) for stage, instruction in jobs}


def _compare_jobs(errors: dict[str, Array], column: str) -> Comparison:
    jobs = _other_jobs()
    measured = np.concatenate([jobs[name][column].to_numpy() for name in errors])
    predicted = measured * (1.0 + np.concatenate(list(errors.values())))
    return Comparison(measured, predicted, tuple(name for name in errors for _ in errors[name]))
