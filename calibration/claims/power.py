"""Claims of layer 3: the watts of boards, their clocks, and their speed under a limit.

`left out` means that the judged model, board, job or network took no part in the fit.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.power.board import CHIPS, fit_board, rates_by_gpu, scaled_coefficients
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
from calibration.fit.power.experts import fit_expert_costs, fit_fp8_byte_cost, kernels_w, mixture_w
from calibration.fit.power.profile import power_errors
from calibration.fit.power.runs import runs
from calibration.fit.profiles import FROM_RUNS, MEASURED
from tokenfleet.envs.fitting.clock_law import ClockLaw, Sweep, best_clock, fit_clock_law
from tokenfleet.envs.fitting.errors import Array, scaled_errors
from tokenfleet.envs.layers.gpu import clock_stretch, load_gpu
from tokenfleet.envs.layers.llm import load_profile, profile_name
from tokenfleet.envs.layers.llm.coefficients import EXPERT_FLOP_COST, FP8_EXPERT_BYTE_COST, PACKED_BYTE_COST

BUSY_CHIPS = ("h100-sxm", "b200-sxm")


def power_of_profiles() -> Comparison:
    """Board power of a profile's runs, taken apart into iterations as engines run them, one factor fitted to each."""
    pairs = (*MEASURED, *FROM_RUNS)
    errors = [np.array(power_errors(load_profile(*pair))) for pair in pairs]
    group = [profile_name(*pair) for pair, own in zip(pairs, errors, strict=True) for _ in own]
    return Comparison(np.ones(len(group)), 1.0 + np.concatenate(errors), tuple(group))


def dense_power() -> Comparison:
    """Board power of dense models on H100 and B200 [W] at the measured step, one law a GPU, fitted to them all."""
    rows = pd.concat([fit_board(chip).runs for chip in BUSY_CHIPS])
    rows = rows[rows.busy]
    return _compare(rows, rows.watts, rows.predicted)


def dense_power_with_factor() -> Comparison:
    """The same with each series' own factor, as a measured profile has it: model, boards and task."""
    rows = pd.concat([fit_board(chip).runs for chip in BUSY_CHIPS])
    rows = rows[rows.busy]
    return _compare(rows, rows.watts, _with_factor(rows))


def left_out_model_power() -> Comparison:
    """Board power of a dense model on H100 and B200 [W] at the measured step, by the law of all the others."""
    rows = _left_out_models()
    rows = rows[rows.busy]
    return _compare(rows, rows.watts, rows.predicted)


def left_out_model_energy() -> Comparison:
    """Energy per generated token of a dense model on H100 and B200 [J], its step time as measured, model left out."""
    rows = _left_out_models()
    rows = rows[rows.busy]
    tokens_per_s = rows.output_throughput_tokens_per_sec
    return _compare(rows, rows.avg_power_watts / tokens_per_s, rows.predicted * rows.num_gpus / tokens_per_s)


def earlier_request_energy() -> Comparison:
    """Energy per request [J] on H100 and A100 40 GB of an earlier vLLM (ML.ENERGY v2), step given, model left out."""
    rows = _left_out_models(("h100-sxm", "a100-sxm"))
    rows = rows[~rows.busy]
    return _compare(rows, rows.joule_per_request, rows.joule_per_request * rows.predicted / rows.watts)


def mixture_power() -> Comparison:
    """Board power of mixtures of experts on H100 and B200 [W]: the law of dense models, three costs of experts."""
    rows = _mixtures()
    return _compare(rows, rows.watts, rows.predicted)


def left_out_mixture_power() -> Comparison:
    """Board power of a mixture in bf16 or MXFP4 [W], costs from all others, the tile of 64 rows from kernels."""
    rows = runs(dense=False)
    groups = [group.reset_index(drop=True) for _, group in rows[rows.fp8_bytes == 0.0].groupby("family")]
    rows = pd.concat(
        [group.assign(predicted=mixture_w(group, *fit_expert_costs(group.family[0]))) for group in groups],
        ignore_index=True,
    )
    return _compare(rows, rows.watts, rows.predicted)


def kernels_mixture_power() -> Comparison:
    """Board power of mixtures [W] with nothing fitted to them: tiles of rows that fused kernels show, FLOPs at par."""
    rows = runs(dense=False)
    rows = rows.assign(predicted=kernels_w(rows))
    return _compare(rows, rows.watts, rows.predicted)


def left_out_boards_power() -> Comparison:
    """Board power of a mixture in fp8 [W] on four H100, its cost of a byte from eight, and on eight from four."""
    rows = runs(dense=False)
    groups = [group.reset_index(drop=True) for _, group in rows[rows.fp8_bytes > 0.0].groupby("num_gpus")]
    costs = [(*fit_expert_costs(), fit_fp8_byte_cost(int(group.num_gpus[0]))) for group in groups]
    rows = pd.concat(
        [group.assign(predicted=mixture_w(group, *cost)) for group, cost in zip(groups, costs, strict=True)],
        ignore_index=True,
    )
    return _compare(rows, rows.watts, rows.predicted)


def mixture_power_with_factor() -> Comparison:
    """The same with each series' own factor."""
    rows = _mixtures()
    return _compare(rows, rows.watts, _with_factor(rows))


def left_out_board_power() -> Comparison:
    """Board power of dense models on a GPU [W] from its data sheet and the other chips' ratios."""
    frames = []
    for chip, boards in CHIPS.items():
        others = tuple(other for other in CHIPS if other != chip)
        for name in boards:
            gpu = load_gpu(name)
            scaled = gpu.model_copy(update={"static_w": gpu.idle_w, "floor_w": 0.0, **scaled_coefficients(gpu, others)})
            rows = runs()[runs().gpu == name]
            frames.append(rows.assign(predicted=rates_by_gpu(rows)[name].lawful_w(scaled)))
    rows = pd.concat(frames)
    return _compare(rows, rows.watts, rows.predicted)


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


def energy_at_predicted_clock() -> Comparison:
    """Energy that the A40 took at the clock that half of a sweep calls best, over the least of the sweep."""
    sweeps = [limited_sweep(stage, "forward") for stage in (FITTED_STAGE, OTHER_STAGE)]
    least_j = np.array([float((s.time_s * s.power_w).min()) for s in sweeps])
    chosen_j = np.array([float((s.time_s * s.power_w)[_predicted_j(s).argmin()]) for s in sweeps])
    return Comparison(least_j, chosen_j, tuple(sweep.job for sweep in sweeps))


def capped_halves(quantity: str) -> Comparison:
    """Zeus's V100: half of the power limits of each job from the other half."""
    return _halves(capped_sweeps(), quantity)


PROFILES = Claim("board power of shipped profiles", power_of_profiles)
CLAIMS = (
    Claim("board power, dense", dense_power, 0.04),
    Claim("board power, dense, with a profile's factor", dense_power_with_factor, 0.04),
    Claim("board power, model left out", left_out_model_power, 0.10),
    Claim("energy per token, model left out", left_out_model_energy, 0.15),
    Claim("energy per request, earlier vLLM, model left out", earlier_request_energy, 0.15),
    Claim("board power, mixtures of experts", mixture_power),
    Claim("board power, mixture left out", left_out_mixture_power, 0.10),
    Claim("board power, mixture, by kernels alone", kernels_mixture_power),
    Claim("board power, mixture in fp8, boards left out", left_out_boards_power, 0.10),
    Claim("board power, mixtures of experts, with a profile's factor", mixture_power_with_factor),
    Claim("board power, chip left out", left_out_board_power),
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
        judged_by="Clock of the least energy of the A40's forward passes, by half of their points; 8 % of it are 0.05 "
        "of the highest clock",
    ),
    Claim(
        "Perseus A40 at its limit, clock of the least energy, backward",
        partial(limited_best_clock, "backward"),
        judged_by="The same of its backward passes, 0.052 off: they took 5 % longer at 0.58 of the highest clock than "
        "at 0.54, which no law has in which a faster clock is no slower",
    ),
    Claim("Perseus A40 at its limit, energy at the clock found", energy_at_predicted_clock, 0.01),
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


def _mixtures() -> pd.DataFrame:
    rows = runs(dense=False)
    return rows.assign(predicted=mixture_w(rows, EXPERT_FLOP_COST, PACKED_BYTE_COST, FP8_EXPERT_BYTE_COST))


def _with_factor(rows: pd.DataFrame) -> Array:
    """Predicted watts times the geometric mean ratio of each series: GPU, model, boards and task."""
    ratio = np.log(rows.watts / rows.predicted)
    factor = np.exp(ratio.groupby([rows.gpu, rows.family, rows.num_gpus, rows.task]).transform("mean"))
    limit_w = rows.gpu.map(lambda name: load_gpu(name).limit_w)
    return np.asarray(np.minimum(factor * rows.predicted, limit_w), np.float64)


def _left_out_models(chips: tuple[str, ...] = BUSY_CHIPS) -> pd.DataFrame:
    frames = []
    for chip in chips:
        families = fit_board(chip).runs.family.unique()
        frames += [fit_board(chip, family).runs.query("family == @family") for family in families]
    return pd.concat(frames, ignore_index=True)


def _other_jobs() -> dict[str, pd.DataFrame]:
    jobs = [(FITTED_STAGE, "backward"), (OTHER_STAGE, "forward"), (OTHER_STAGE, "backward")]
    return {f"stage {stage} {instruction}": clock_job(stage, instruction) for stage, instruction in jobs}


def _compare(rows: pd.DataFrame, measured: pd.Series, predicted: pd.Series | Array) -> Comparison:
    group = tuple(rows.gpu + " " + rows.family)
    return Comparison(np.asarray(measured, float), np.asarray(predicted, float), group)


def _compare_jobs(errors: dict[str, Array], column: str) -> Comparison:
    jobs = _other_jobs()
    measured = np.concatenate([jobs[name][column].to_numpy() for name in errors])
    predicted = measured * (1.0 + np.concatenate(list(errors.values())))
    return Comparison(measured, predicted, tuple(name for name in errors for _ in errors[name]))
