"""What a clock and a power limit do to time and watts: Perseus on an A100, Zeus on a V100.

Both effects are judged on jobs outside of the fit. A job contributes what is its own, its time and its watts at full
clock; the board's parameters, the same for all jobs, come from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.excerpts import table
from tokenfleet.envs.fitting.clock_law import FEWEST_POINTS, ClockLaw, Sweep, fit_clock_law
from tokenfleet.envs.fitting.errors import Array, mean_error, relative_errors, scaled_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import GpuSpec, Number, board_power_w, clock_stretch, load_gpu, voltage_fraction

PERSEUS_TOP_MHZ = 1410
FITTED_STAGE = 0  # stages 1 to 6 of the file repeat it; stage 7 is another one
OTHER_STAGE = 7
COMPUTE_BOUND = 0.1  # Perseus: m of compute-bound work, 0.09 to 0.12; Zeus trains, so its jobs are too
CAPPED_GPU = "v100-pcie-32gb"
LIMITED_GPU = "a40"
UNCAPPED_W = 250
CLOCK_BISECTIONS = 40  # halves the range of clocks to 1e-12 of it


@dataclass(frozen=True)
class ClockFit:
    """A board's Ps [W], voltage floor and compute-bound m; mean absolute relative errors of the fit."""

    static_w: float
    voltage_floor_fraction: float
    memory_fraction: float
    power_error: float
    time_error: float


@dataclass(frozen=True)
class CapFit:
    """A board's voltage floor under power limits, and a job's draw at full clock over its draw at the highest limit."""

    voltage_floor_fraction: float
    demand_ratio: float


def limited_sweep(stage: int, instruction: str) -> Sweep:
    """One of Perseus's jobs on an A40, whose limit binds at high clocks."""
    rows = table("perseus_a40")
    own = rows[(rows.stage == stage) & (rows.instruction == instruction)].sort_values("frequency")
    clock = (own.frequency / rows.frequency.max()).to_numpy()
    limit_w = np.full(len(own), load_gpu(LIMITED_GPU).tdp_w)
    return Sweep(
        f"stage {stage} {instruction}", clock, limit_w, own.time.to_numpy(), (own.energy / own.time).to_numpy()
    )


@cache
def fit_limited() -> ClockLaw:
    """The clock law of the A40 from the forward pass of one stage."""
    return fit_clock_law([limited_sweep(FITTED_STAGE, "forward")])


def capped_sweeps() -> list[Sweep]:
    """Zeus's jobs on a V100, each under its limits; runs of one network and batch size are averaged."""
    rows = table("capping")
    means = rows.groupby(["dataset", "network", "batch_size", "power_limit"], as_index=False)[
        ["time_per_epoch", "average_power"]
    ].mean()
    return [
        Sweep(
            f"{dataset} {network} {batch_size}",
            np.ones(len(own)),
            own.power_limit.to_numpy(float),
            own.time_per_epoch.to_numpy(),
            own.average_power.to_numpy(),
        )
        for (dataset, network, batch_size), own in means.groupby(["dataset", "network", "batch_size"])
        if len(own) >= 2 * FEWEST_POINTS - 1
    ]


def clock_job(stage: int, instruction: str) -> pd.DataFrame:
    """One of Perseus's jobs: clock fraction, seconds, watts."""
    rows = table("perseus")
    rows = rows[(rows.stage == stage) & (rows.instruction == instruction)]
    return pd.DataFrame(
        {"clock": rows.frequency / PERSEUS_TOP_MHZ, "time_s": rows.time, "watts": rows.energy / rows.time}
    )


@cache
def fit_clock() -> ClockFit:
    """Ps, voltage floor and m from the forward pass of one stage at 38 locked clocks."""
    job = clock_job(FITTED_STAGE, "forward")

    def time_error(x: Array) -> Array:
        return scaled_errors(clock_stretch(job.clock.to_numpy(), float(x[0])), job.time_s)

    time = minimise(time_error, [[0.1]])
    memory_fraction = float(time.values[0])

    def power_error(x: Array) -> Array:
        return clock_power_error(job, 100.0 * x[0], float(x[1]), memory_fraction)

    # the kink has a local minimum between each two clocks
    power = minimise(power_error, [[1.0, floor] for floor in (0.70, 0.72, 0.74, 0.76, 0.78, 0.80)])
    hundreds_w, floor = power.values.tolist()
    return ClockFit(100.0 * hundreds_w, floor, memory_fraction, mean_error(power.residuals), mean_error(time.residuals))


def clock_power_error(job: pd.DataFrame, static_w: float, floor: float, memory_fraction: float) -> Array:
    """Signed relative errors of Ps + k V^2 / phi(F, m), the law for compute-bound work, with the job's best k."""
    clock, watts = job.clock.to_numpy(), job.watts.to_numpy()
    shape = voltage_fraction(clock, floor) ** 2 / clock_stretch(clock, memory_fraction)
    wanted = (watts - static_w) / watts
    k = float(np.sum(shape / watts * wanted) / np.sum((shape / watts) ** 2))
    return relative_errors(static_w + k * shape, watts)


@cache
def capped_jobs() -> pd.DataFrame:
    """Zeus's jobs under every limit: watts at the highest limit, and speed over the speed there."""
    rows = table("capping")
    job = ["dataset", "network", "batch_size", "optimizer"]
    highest = rows[rows.power_limit == UNCAPPED_W].set_index(job)[["time_per_epoch", "average_power"]]
    rows = rows[rows.power_limit < UNCAPPED_W].merge(highest.add_suffix("_uncapped"), left_on=job, right_index=True)
    return rows.assign(speed=rows.time_per_epoch_uncapped / rows.time_per_epoch).reset_index(drop=True)


def capped_speed(gpu: GpuSpec, demand_ratio: float, rows: pd.DataFrame) -> Array:
    """Speed under a limit over the speed under the highest one, by the law."""
    demand_w = np.maximum(demand_ratio * (rows.average_power_uncapped.to_numpy() - gpu.static_w), 0.0)
    flops = demand_w / gpu.joule_per_flop

    def time(limit_w: Array) -> Array:
        return clock_stretch(clock_under_power_limit(gpu, limit_w, 0.0, flops, COMPUTE_BOUND), COMPUTE_BOUND)

    return time(np.full(len(rows), float(UNCAPPED_W))) / time(rows.power_limit.to_numpy(float))


def clock_under_power_limit(
    gpu: GpuSpec, limit_w: Number, bytes_per_s: Number, flops: Number, memory_fraction: float
) -> Array:
    """Highest clock at which a job stays under a power limit, as a board's own power capping finds it.

    The job's time stretches by `clock_stretch` as the clock falls, and its rates fall with it; by the law, power then
    never rises, so the clock is found by bisection.

    Args:
        gpu: the board.
        limit_w: power limit, broadcast against the rates [W].
        bytes_per_s: memory traffic of the job at full clock [bytes/s].
        flops: arithmetic rate of the job at full clock [FLOP/s].
        memory_fraction: m, share of its time that does not depend on the clock.

    Returns:
        F from `gpu.clock_floor_fraction` to 1; the floor even where the floor draws too much.

    >>> gpu = load_gpu("v100-pcie-32gb")
    >>> clock = clock_under_power_limit(gpu, 150.0, 0.0, 230.0 / gpu.joule_per_flop, 0.1)
    >>> round(float(clock_stretch(clock, 0.1)), 1)
    1.3
    """
    low = np.full(np.broadcast(limit_w, bytes_per_s, flops).shape, gpu.clock_floor_fraction)
    high = np.ones_like(low)

    def fits(clock: Array) -> NDArray[np.bool_]:
        stretch = clock_stretch(clock, memory_fraction)
        return np.asarray(board_power_w(gpu, bytes_per_s / stretch, flops / stretch, clock) <= limit_w)

    at_once = fits(high)
    for _ in range(CLOCK_BISECTIONS):
        middle = 0.5 * (low + high)
        fit = fits(middle)
        low, high = np.where(fit, middle, low), np.where(fit, high, middle)
    return np.where(at_once, 1.0, low)


@cache
def fit_capping(without: str = "") -> CapFit:
    """The voltage floor and the demand ratio from every network but one."""
    rows = capped_jobs()
    rows = rows[rows.network != without]

    def error(x: Array) -> Array:
        return relative_errors(capped_speed(capped_gpu(float(x[0])), float(x[1]), rows), rows.speed)

    found = minimise(error, [[0.8, 1.1]], bounds=([0.5, 0.8], [1.0, 2.0]), soft=0.03, step=1e-3)
    return CapFit(*found.values.tolist())


def capped_gpu(voltage_floor_fraction: float) -> GpuSpec:
    """Zeus's board with another voltage floor, without a limit of its own."""
    changes = {
        "voltage_floor_fraction": voltage_floor_fraction,
        "limit_fraction": 1.0,
        "tdp_w": 1e6,
        "clock_floor_fraction": 0.1,
    }
    return load_gpu(CAPPED_GPU).model_copy(update=changes)
