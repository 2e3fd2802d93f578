"""Layer 3, clocks: the clock that boards run at when the one asked for would draw more than their limit.

Work that takes `fixed_s + core_s / F` seconds and `fixed_j + V^2 core_j` joules at clock fraction F, beside what boards
draw awake, draws less the slower the clock: the awake power falls, the joules fall, and the time grows. A board under
its power limit therefore settles at the highest clock that holds the limit, and the work takes its time at that clock.
(A real board hops between two neighbouring steps of its clock, a hundredth apart, and draws the limit on average.)

That clock solves shoulder(F) time(F) + shoulder_slope work(F) = limit_w time(F). The difference of both sides, times F,
is a convex polynomial as long as the voltage follows the clock. Three of Halley's steps solve this polynomial to
rounding. Below the voltage's floor the difference is quadratic. Both engines take the same steps, so both find the same
clock.

No board lowers its clock below `LOWEST_CLOCK_FRACTION`. A limit so low that even this clock exceeds it would stop the
clock for moments. The time of these moments is not counted; no driver accepts such a limit.

References:
    J. You et al., "Zeus", NSDI 2023 (a V100 under power limits); J.-W. Chung et al., Perseus, SOSP 2024 (an A40 whose
    limit binds at every clock above 0.82 of the highest).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu.power_law import Coefficient, Number, PowerCoefficients

LOWEST_CLOCK_FRACTION = 0.125
"""Assumption: the clocks that drivers list end at 210 of 1410 MHz (A100), 210 of 1980 (H100), 135 of 1380 (V100)."""
HALLEY_STEPS = 3
LEAST_SLOPE = 1e-9  # of a shoulder; boards without one exceed a limit only where they do without any work


@dataclass(slots=True)
class Load(Generic[Number]):
    """What a piece of work takes of boards: parts that follow the core's clock, and the rest.

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


def clock_under_limit(gpu: PowerCoefficients, load: Load[Any], asked: Coefficient) -> Coefficient:
    """The highest clock below the one asked for at which boards hold their limit.

    Args:
        gpu: the boards.
        load: what they do.
        asked: F asked for, in (0, 1]; at it, the load draws more than the limit, else the result means nothing.

    Returns:
        F; `LOWEST_CLOCK_FRACTION` (or `asked` if that is less) where no clock holds the limit.
    """
    law, voltage_floor = _Excess.of(gpu, load), gpu.voltage_floor_fraction
    if isinstance(asked, np.ndarray) or isinstance(load.core_s, np.ndarray) or isinstance(law.left_w, np.ndarray):
        found: Coefficient = _clocks_under_limit(law, voltage_floor, asked)
        return found
    try:
        clock = law.solved_from(law.start())
    except ZeroDivisionError:  # no clock makes a difference
        clock = 0.0
    if not clock >= voltage_floor:
        clock = law.at_voltage(voltage_floor)
    found = min(max(clock, LOWEST_CLOCK_FRACTION), asked)
    return found


@dataclass(slots=True)
class _Excess:
    """By how much a load exceeds a limit: joules of work beyond those that the limit leaves for work on the shoulder.

    Attributes:
        left_w: power that the limit leaves for work, if boards drew nothing for their clock [W].
        floor_w: how much of that power boards draw for their clock, for each unit of F V^2 [W].
        load: the work.
    """

    left_w: Coefficient
    floor_w: Coefficient
    load: Load[Coefficient]

    @classmethod
    def of(cls, gpu: PowerCoefficients, load: Load[Any]) -> _Excess:
        """The excess of a load on boards; `LEAST_SLOPE` stands for a slope of 0."""
        slope = np.maximum(gpu.shoulder_slope, LEAST_SLOPE)
        share = (1.0 - gpu.knee_fraction * (1.0 - gpu.shoulder_slope)) / slope
        left_w, floor_w = share * (gpu.limit_w - gpu.static_w), share * gpu.floor_w
        return cls(left_w, floor_w, load) if np.ndim(left_w) else cls(float(left_w), float(floor_w), load)

    def start(self) -> Coefficient:
        """Where to begin: work per second goes about as F^3."""
        load = self.load
        left_j = (self.left_w - self.floor_w) * (load.fixed_s + load.core_s)
        return 3.0 * left_j / (2.0 * left_j + (load.fixed_j + load.core_j))

    def solved_from(self, clock: Coefficient) -> Coefficient:
        """The root where V = F, by Halley's method on the excess times F, a polynomial of F."""
        load = self.load
        quartic = self.floor_w * load.fixed_s
        cubic = load.core_j + self.floor_w * load.core_s
        linear = load.fixed_j - self.left_w * load.fixed_s
        constant = self.left_w * load.core_s
        for _ in range(HALLEY_STEPS):
            square, steepest = clock * clock, quartic * clock
            value = clock * ((steepest + cubic) * square + linear) - constant
            first = (4.0 * steepest + 3.0 * cubic) * square + linear
            half_second = (6.0 * steepest + 3.0 * cubic) * clock
            clock = clock - value * first / (first * first - value * half_second)
        return clock

    def at_voltage(self, voltage: Coefficient) -> Coefficient:
        """The root where the voltage stays; 0 where there is none."""
        square, load = voltage * voltage, self.load
        floor_w = self.floor_w * square
        linear = (load.fixed_j + load.core_j * square) + (floor_w * load.core_s - self.left_w * load.fixed_s)
        constant = self.left_w * load.core_s
        inside = linear * linear + 4.0 * (floor_w * load.fixed_s) * constant
        if isinstance(inside, np.ndarray):
            below = linear + np.sqrt(np.maximum(inside, 0.0))
            return np.where((constant > 0.0) & (below > 0.0), 2.0 * constant / np.where(below > 0.0, below, 1.0), 0.0)
        if constant <= 0.0:
            return 0.0
        below = linear + math.sqrt(inside)
        return 2.0 * constant / below if below > 0.0 else 0.0


def _clocks_under_limit(law: _Excess, voltage_floor: Coefficient, asked: Coefficient) -> NDArray[np.float64]:
    """`clock_under_limit` for many loads at once, `[...]`."""
    with np.errstate(all="ignore"):  # of those that do not exceed the limit, which nobody asks for
        clock = law.solved_from(law.start())
        clock = np.where(clock >= voltage_floor, clock, law.at_voltage(voltage_floor))
    return np.minimum(np.maximum(clock, LOWEST_CLOCK_FRACTION), asked)
