"""Layer 3, clocks: the clock that boards run at when the one asked for would draw more than their limit.

Work that takes `fixed_s + core_s / F` seconds and `fixed_j + V^2 core_j` joules at clock fraction F, beside what boards
draw awake, draws less the slower the clock: the awake power falls, the joules fall, and the time grows. A board under
its power limit therefore settles at the highest clock that holds the limit, and the work takes as long as it does
there. Clocks are told to `1 / CLOCK_STEPS` of the highest; a board of the A100's kind has steps of a hundredth, between
which it hops, so that its mean draw is the limit itself.

No board lowers its clock below `LOWEST_CLOCK_FRACTION`. Where even that draws too much, which no power limit that a
driver accepts does, a board holds its limit by stopping its clock for moments; the time that these take is not counted.

References:
    J. You et al., "Zeus", NSDI 2023 (a V100 under power limits); J.-W. Chung et al., Perseus, SOSP 2024 (an A40 whose
    limit binds at every clock above 0.82 of the highest).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, cast

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu.board import Coefficient, Draw, Number, PowerCoefficients, voltage_fraction

CLOCK_STEPS = 4096
"""Steps of the clock between 0 and the highest."""
LOWEST_STEP = CLOCK_STEPS // 8
LOWEST_CLOCK_FRACTION = LOWEST_STEP / CLOCK_STEPS
"""Assumption: the clocks that drivers list end at 210 of 1410 MHz (A100), 210 of 1980 (H100), 135 of 1380 (V100)."""


@dataclass(slots=True)
class Load(Generic[Number]):
    """What a piece of work takes of boards, in parts that follow the core's clock and parts that do not.

    Attributes:
        fixed_s: time that no clock changes [s].
        core_s: time at full clock that goes as 1 / F [s].
        fixed_j: energy that no voltage changes [J].
        core_j: energy at full voltage that goes as V^2 [J].
    """

    fixed_s: Number
    core_s: Number
    fixed_j: Number
    core_j: Number

    def time_s(self, clock_fraction: Coefficient) -> Number:
        """How long the work takes [s]."""
        time_s: Number = self.fixed_s + self.core_s / clock_fraction
        return time_s

    def work_j(self, voltage: Coefficient) -> Number:
        """What it takes beside the awake boards [J]."""
        work_j: Number = self.fixed_j + (voltage * voltage) * self.core_j
        return work_j


def clock_under_limit(gpu: PowerCoefficients, load: Load[Number], asked: Coefficient) -> Number:
    """The highest clock below the one asked for at which boards hold their limit.

    Args:
        gpu: the boards.
        load: what they do.
        asked: F asked for, in (0, 1]; at it, the load draws more than the limit.

    Returns:
        A multiple of `1 / CLOCK_STEPS`; where none holds the limit `LOWEST_CLOCK_FRACTION`, or `asked` if that is less.
    """
    if isinstance(asked, np.ndarray) or isinstance(load.fixed_s, np.ndarray):
        return cast(Number, _clocks_under_limit(gpu, load, np.asarray(asked, np.float64)))
    low, high = LOWEST_STEP, math.ceil(asked * CLOCK_STEPS) - 1
    if high < low:
        return cast(Number, asked)
    while low < high:
        middle = (low + high + 1) // 2
        if _holds_limit(gpu, load, middle / CLOCK_STEPS):
            low = middle
        else:
            high = middle - 1
    return cast(Number, low / CLOCK_STEPS)


def _clocks_under_limit(
    gpu: PowerCoefficients, load: Load[NDArray[np.float64]], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same for many at once."""
    shape = np.broadcast_shapes(np.shape(load.fixed_s), asked.shape, np.shape(gpu.limit_w))
    low, high = np.full(shape, LOWEST_STEP), np.broadcast_to(np.ceil(asked * CLOCK_STEPS).astype(np.int64) - 1, shape)
    is_low = high < low
    while (low < high).any():
        middle = (low + high + 1) // 2
        holds = _holds_limit(gpu, load, middle / CLOCK_STEPS)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle - 1)
    return np.where(is_low, asked, low / CLOCK_STEPS)


def _holds_limit(gpu: PowerCoefficients, load: Load[Number], clock_fraction: Coefficient) -> Coefficient:
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    is_over: Coefficient = Draw.at_clock(gpu, clock_fraction).exceeds_limit(
        load.time_s(clock_fraction), load.work_j(voltage)
    )
    return ~is_over if isinstance(is_over, np.ndarray) else not is_over
