"""The watts of a board from serving runs: one law a GPU, and how far it is from each run.

The coefficients of `board_power_w` are fitted to all dense models on a GPU (`power.runs`) by least squares of relative
error. The earlier runs, in which the GPU waits, tell what a board draws while nothing runs, and the law before its
knee. The A100 80 GB shares its joules with the 40 GB board, the same chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.fit.power.clock import fit_clock
from calibration.fit.power.runs import runs
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import GpuSpec, board_power_w, load_gpu
from tokenfleet.envs.layers.gpu.data_sheet import MEMORY_JOULE_PER_BYTE

BUSY_WEIGHT = 2.0  # runs with a busy GPU count twice: they are what the product simulates
COEFFICIENTS = {
    "joule_per_byte": 1e-10,
    "joule_per_context_byte": 1e-10,
    "joule_per_flop": 1e-12,
    "knee_fraction": 0.5,
    "shoulder_slope": 0.5,
}
STARTS = (0.8, 1.2, 1.6)  # of the knee, in its unit: each has a local minimum
# GPU -> the runs its law is fitted to; boards of one chip share everything but what they draw awake.
CHIPS = {"h100-sxm": ("h100-sxm",), "b200-sxm": ("b200-sxm",), "a100-sxm": ("a100-sxm-40gb", "a100-sxm-80gb")}
PERSEUS_BOARD = "a100-sxm-80gb"  # awake it draws what Perseus measured


@dataclass(frozen=True)
class BoardFit:
    """A fitted law: GPU -> its spec with the fitted values, and the runs with predicted watts and errors."""

    gpus: dict[str, GpuSpec]
    runs: pd.DataFrame

    @property
    def errors(self) -> list[float]:
        """Signed relative errors of the runs that keep their GPU busy."""
        return [float(error) for error in self.runs[self.runs.busy].error]


@dataclass(frozen=True)
class Rates:
    """What the boards of some runs move and compute in a second, and which of the runs they are."""

    mine: NDArray[np.bool_]
    bytes_per_s: Array
    flops: Array
    context_bytes_per_s: Array

    def lawful_w(self, gpu: GpuSpec) -> Array:
        """Watts by the law of a GPU at full clock."""
        full_clock = np.ones_like(self.flops)
        return board_power_w(gpu, self.bytes_per_s, self.flops, full_clock, self.context_bytes_per_s)


def rates_by_gpu(rows: pd.DataFrame) -> dict[str, Rates]:
    """GPU -> the rates of its runs."""
    per_s = [(rows[name] / rows.mean_s).to_numpy(float) for name in ("weight_bytes", "flops", "context_bytes")]
    masks = {name: (rows.gpu == name).to_numpy() for name in rows.gpu.unique()}
    return {name: Rates(mine, *(rate[mine] for rate in per_s)) for name, mine in masks.items()}


def predicted_w(gpus: Mapping[str, GpuSpec], rates: Mapping[str, Rates]) -> Array:
    """Watts of every run by the law of its GPU."""
    watts = np.empty(len(next(iter(rates.values())).mine))
    for name, own in rates.items():
        watts[own.mine] = own.lawful_w(gpus[name])
    return watts


@cache
def fit_board(chip: str, without: str = "") -> BoardFit:
    """The law of a chip's boards from every dense run on them, but those of the family `without`.

    The A100 80 GB keeps what Perseus measured awake; every other awake power is fitted, from idle power up.
    """
    rows = runs()
    rows = rows[rows.gpu.isin(CHIPS[chip])]
    used = rows[rows.family != without]
    rates, watts = rates_by_gpu(used), used.watts.to_numpy()
    weight = np.where(used.busy, BUSY_WEIGHT, 1.0)
    spec = {name: load_gpu(name) for name in CHIPS[chip]}
    idle = [gpu.idle_w / 100.0 for name, gpu in spec.items() if name != PERSEUS_BOARD]

    def error(x: Array) -> Array:
        return weight * relative_errors(predicted_w(_with_coefficients(spec, x), rates), watts)

    lower = [0.0, 0.0, 0.0, 0.2, 0.0, *idle]
    upper = [20.0, 20.0, 20.0, 2.0, 2.0] + [3.0] * len(idle)
    starts = [[1.4, 2.0, 1.6, knee, 1.0] + [2.0] * len(idle) for knee in STARTS]
    found = minimise(error, starts, bounds=(lower, upper), soft=0.03, step=1e-4)
    gpus = _with_coefficients(spec, found.values)
    watts_by_law = predicted_w(gpus, rates_by_gpu(rows))
    return BoardFit(gpus, rows.assign(predicted=watts_by_law, error=relative_errors(watts_by_law, rows.watts)))


def _with_coefficients(spec: Mapping[str, GpuSpec], x: Array) -> dict[str, GpuSpec]:
    """The boards of a chip with a vector to fit: COEFFICIENTS in their units, then hundreds of awake watts."""
    shared = {name: float(value) * unit for (name, unit), value in zip(COEFFICIENTS.items(), x, strict=False)}
    awake = iter(x[len(COEFFICIENTS) :])
    return {
        name: gpu.model_copy(
            update={
                **shared,
                "static_w": fit_clock().static_w if name == PERSEUS_BOARD else 100.0 * float(next(awake)),
                "floor_w": 0.0,
            }
        )
        for name, gpu in spec.items()
    }


def coefficients(fitted: GpuSpec) -> dict[str, float]:
    """The fitted values of a board as the catalogue has them; what it draws awake beyond idle is switched clocks."""
    awake_w, idle_w = fitted.static_w, load_gpu(fitted.name).idle_w
    static_w = awake_w if fitted.name == PERSEUS_BOARD else min(awake_w, idle_w)
    shared = {name: getattr(fitted, name) for name in COEFFICIENTS}
    core = 1.0 - MEMORY_JOULE_PER_BYTE / fitted.joule_per_byte
    return {"static_w": static_w, "floor_w": awake_w - static_w, **shared, "core_byte_fraction": core}


def scaled_coefficients(gpu: GpuSpec, chips: tuple[str, ...] = tuple(CHIPS)) -> dict[str, float]:
    """A board that nobody measured, from its data sheet and the ratios of measured chips; an assumption.

    What all its bandwidth, or all its arithmetic, would draw is the same multiple of its limit as on the others
    (geometric mean), the knee is as far up and the shoulder as steep (mean).
    """
    donors = [fit_board(chip).gpus[CHIPS[chip][-1]] for chip in chips]

    def ratio(name: str, rate: str) -> float:
        shares = [getattr(donor, name) * getattr(donor, rate) / donor.limit_w for donor in donors]
        return float(np.exp(np.mean(np.log(shares)))) * gpu.limit_w / float(getattr(gpu, rate))

    joule_per_byte = ratio("joule_per_byte", "memory_bandwidth_bytes_per_s")
    return {
        "joule_per_byte": joule_per_byte,
        "joule_per_context_byte": ratio("joule_per_context_byte", "memory_bandwidth_bytes_per_s"),
        "joule_per_flop": ratio("joule_per_flop", "peak_bf16_flops"),
        "knee_fraction": float(np.mean([donor.knee_fraction for donor in donors])),
        "shoulder_slope": float(np.mean([donor.shoulder_slope for donor in donors])),
        "core_byte_fraction": max(0.0, 1.0 - MEMORY_JOULE_PER_BYTE / joule_per_byte),
    }
