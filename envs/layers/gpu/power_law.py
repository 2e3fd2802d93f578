"""Layer 3, power: a board's draw for its work, and costs and savings of its clock.

The one law of board power [W], per GPU, at clock fraction F, for a work of x joules per second:

    awake(F) = static_w + floor_w F V^2,              V(F) = max(F, voltage_floor_fraction)
    x(F)     = M joule_per_byte bytes/s + M_context joule_per_context_byte context bytes/s + V^2 joule_per_flop flop/s
    M(F)     = 1 - core_byte_fraction (1 - V^2),      M_context likewise with core_context_fraction
    P        = min( awake + x,  shoulder,  limit ),   limit = limit_fraction tdp_w
    shoulder = awake + knee_fraction (1 - shoulder_slope) (limit - awake) + shoulder_slope x

A board that waits for its host draws `awake`. Up to its knee a board draws a joule for each joule of work, and from
there on `shoulder_slope` joules for each further one. The reason: a board near its limit lowers its clock in the
power-hungry phases of an iteration, and the watts are a mean over all phases. Where the mean itself would pass the
limit, the board lowers its clock in all phases (`tokenfleet.envs.layers.gpu.clock`) and draws the limit. The three
pieces are affine in time and work, so the energy of an iteration is the least of three affine functions.

A byte of context costs more than a byte of weights where attention kernels pad their tiles. A FLOP costs V^2. A byte
costs the same at any clock inside the memory, which runs on a clock of its own, and V^2 on its way through the core.
Perseus measured Ps + k F max(F, 0.76)^2 on compute-bound work, where flop/s is itself about proportional to F.

References:
    J.-W. Chung et al., "Reducing Energy Bloat in Large Model Training" (Perseus), SOSP 2024,
    doi:10.1145/3694715.3695970. J.-W. Chung et al., "The ML.ENERGY Benchmark", NeurIPS 2025, arXiv:2505.06371 (the runs
    the watts are fitted to). J. You et al., "Zeus: Understanding and Optimizing GPU Energy Consumption of DNN
    Training", NSDI 2023 (power limits).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])
Coefficient = Any
"""A float, or an array that broadcasts against clocks and work; results are of the caller's kind."""


class PowerLaw(Protocol):
    """The coefficients of the law that a clock moves: of a board (`GpuSpec`), or of several (`PowerCoefficients`)."""

    @property
    def static_w(self) -> Coefficient:
        """See `GpuSpec`."""

    @property
    def floor_w(self) -> Coefficient:
        """See `GpuSpec`."""

    @property
    def knee_fraction(self) -> Coefficient:
        """See `GpuSpec`."""

    @property
    def shoulder_slope(self) -> Coefficient:
        """See `GpuSpec`."""

    @property
    def limit_w(self) -> Coefficient:
        """See `GpuSpec`."""

    @property
    def voltage_floor_fraction(self) -> Coefficient:
        """See `GpuSpec`."""


@dataclass(frozen=True)
class PowerCoefficients:
    """What the law reads of several boards together: names of `GpuSpec`, every power their sum, fields broadcast."""

    static_w: Coefficient
    floor_w: Coefficient
    core_byte_fraction: Coefficient
    core_context_fraction: Coefficient
    knee_fraction: Coefficient
    shoulder_slope: Coefficient
    limit_w: Coefficient
    voltage_floor_fraction: Coefficient


def clock_stretch(clock_fraction: Number, memory_fraction: Number | float) -> Number:
    """How much longer work takes at a lower clock: phi(F, m) = m + (1 - m) / F.

    Args:
        clock_fraction: F, clock as a share of the highest, in (0, 1].
        memory_fraction: m, the share of the time at full clock that does not depend on the clock, in [0, 1]. Perseus
            measured 0.09 to 0.12 for compute-bound work on an A100.

    Returns:
        Time over time at full clock, at least 1.

    >>> round(clock_stretch(0.76, 0.1), 3)
    1.284
    """
    return memory_fraction + (1.0 - memory_fraction) / clock_fraction


def memory_fraction_under(memory_fraction: Number, clock_sensitivity_factor: float) -> Number:
    """The share of the time that does not depend on the clock, m, where its complement is larger or smaller.

    Args:
        memory_fraction: m as measured; a factor of 1 leaves it as it is, to the last bit.
        clock_sensitivity_factor: on 1 - m, of which 1 is the most; not negative.

    >>> round(memory_fraction_under(0.75, 2.0), 3), memory_fraction_under(0.75, 5.0)
    (0.5, 0.0)
    """
    under = memory_fraction + (1.0 - clock_sensitivity_factor) * (1.0 - memory_fraction)
    return np.maximum(under, 0.0) if isinstance(under, np.ndarray) else max(under, 0.0)


def voltage_fraction(clock_fraction: Number, voltage_floor_fraction: Number | float) -> Number:
    """Core voltage over its value at full clock: V(F) = max(F, floor).

    Args:
        clock_fraction: F in (0, 1].
        voltage_floor_fraction: 0.76 on the A100 that Perseus measured.

    >>> voltage_fraction(0.5, 0.76)
    0.76
    """
    if isinstance(clock_fraction, np.ndarray):
        return np.maximum(clock_fraction, voltage_floor_fraction)
    return max(clock_fraction, voltage_floor_fraction)


def busy_floor_w(gpu: PowerLaw, clock_fraction: Number) -> Number:
    """Power of awake boards before any work is counted: static_w + floor_w F V^2 [W].

    Args:
        gpu: the board, or several together.
        clock_fraction: F in (0, 1].

    >>> from tokenfleet.envs.layers.gpu import load_gpu
    >>> gpu = load_gpu("h100-sxm")
    >>> busy_floor_w(gpu, 1.0) == gpu.static_w + gpu.floor_w
    True
    """
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    busy_w: Number = gpu.static_w + gpu.floor_w * clock_fraction * (voltage * voltage)
    return busy_w


def byte_energy_scale(core_fraction: Number | float, voltage: Number) -> Number:
    """Energy of a byte over its value at full voltage: M = 1 - core_fraction (1 - V^2).

    Args:
        core_fraction: `core_byte_fraction` or `core_context_fraction` of a board.
        voltage: V, from `voltage_fraction`.

    >>> byte_energy_scale(0.75, 1.0), byte_energy_scale(0.75, 0.6)
    (1.0, 0.52)
    """
    return 1.0 - core_fraction * (1.0 - voltage * voltage)


@dataclass(frozen=True)
class Draw:
    """What boards draw at one clock: the least of three pieces, each affine in time and work.

    Attributes:
        busy_w: awake, without work [W].
        shoulder_w: where the line of the shoulder begins, without work [W].
        shoulder_slope: watts along the shoulder for each watt of work.
        limit_w: the most that is sustained [W].
    """

    busy_w: Coefficient
    shoulder_w: Coefficient
    shoulder_slope: Coefficient
    limit_w: Coefficient

    @classmethod
    def at_clock(cls, gpu: PowerLaw, clock_fraction: Coefficient) -> Draw:
        """Of a board, or several together, at F in (0, 1]."""
        busy_w: Coefficient = busy_floor_w(gpu, clock_fraction)
        slope, limit_w = gpu.shoulder_slope, gpu.limit_w
        shoulder_w = busy_w + gpu.knee_fraction * (1.0 - slope) * (limit_w - busy_w)
        return cls(busy_w, shoulder_w, slope, limit_w)

    def exceeds_limit(self, time_s: Number | float, work_j: Number) -> Coefficient:
        """Whether the work would draw more than the limit in that time: the shoulder passes the limit last."""
        return self.shoulder_w * time_s + self.shoulder_slope * work_j > self.limit_w * time_s

    def energy_j(self, time_s: Number | float, work_j: Number) -> Number:
        """Energy of the boards in a time for the work they do in it [J]; for a time of 1 s, the number of watts.

        Args:
            time_s: how long they are awake [s].
            work_j: energy of the work at the clock's voltage [J].

        >>> from tokenfleet.envs.layers.gpu import load_gpu
        >>> gpu = load_gpu("h100-sxm")
        >>> draw = Draw.at_clock(gpu, 1.0)
        >>> draw.energy_j(1.0, 0.0) == busy_floor_w(gpu, 1.0), draw.energy_j(2.0, 1e6) == 2.0 * gpu.limit_w
        (True, True)
        """
        follows_j: Number = self.busy_w * time_s + work_j
        shoulder_j: Number = self.shoulder_w * time_s + self.shoulder_slope * work_j
        limit_j: Number = self.limit_w * time_s
        if isinstance(follows_j, np.ndarray):
            return np.minimum(np.minimum(follows_j, shoulder_j), limit_j)
        return min(follows_j, shoulder_j, limit_j)
