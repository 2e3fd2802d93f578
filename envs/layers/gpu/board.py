"""Layer 3, the GPU: what a board draws for the work it does, and what its clock costs and saves.

The one law of board power [W], per GPU, at clock fraction F, for a work of x joules per second:

    awake(F) = static_w + floor_w F V^2,              V(F) = max(F, voltage_floor_fraction)
    x(F)     = M joule_per_byte bytes/s + M_context joule_per_context_byte context bytes/s + V^2 joule_per_flop flop/s
    M(F)     = 1 - core_byte_fraction (1 - V^2),      M_context likewise with core_context_fraction
    P        = min( awake + x,  shoulder,  limit ),   limit = limit_fraction tdp_w
    shoulder = awake + knee_fraction (1 - shoulder_slope) (limit - awake) + shoulder_slope x

A board that waits for its host draws `awake`. Up to its knee it draws a joule for each joule of work; from there on
only `shoulder_slope` of each further one shows, because a board near its limit lowers its clock in the power-hungry
phases of an iteration and the watts are a mean over all of them. Where the mean itself would pass the limit, the board
lowers its clock for all of it (`tokenfleet.envs.layers.gpu.clock`) and draws the limit. The three pieces are affine in
time and work, so the energy of an iteration is the least of three affine functions.

A byte of context costs more than a byte of weights where attention kernels pad their tiles. A FLOP costs V^2. A byte
costs the same at any clock inside the memory, which runs on a clock of its own, and V^2 on its way through the core.
Perseus measured Ps + k F max(F, 0.76)^2 on compute-bound work, where flop/s is itself about proportional to F.

Every coefficient is data: `tokenfleet/envs/catalog/gpu/<name>.yaml`, with its sources; `python -m calibration.fit`
recomputes the fitted ones, and says how far each law is from its measurements.

References:
    J.-W. Chung et al., "Reducing Energy Bloat in Large Model Training" (Perseus), SOSP 2024,
    doi:10.1145/3694715.3695970. J.-W. Chung et al., "The ML.ENERGY Benchmark", NeurIPS 2025, arXiv:2505.06371 (the runs
    the watts are fitted to). J. You et al., "Zeus: Understanding and Optimizing GPU Energy Consumption of DNN
    Training", NSDI 2023 (power limits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry
from tokenfleet.envs.layers.gpu.kernels import KernelSpec, ProductSpec
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveFraction, Spec, SpecError, UnitFraction

Number = TypeVar("Number", float, NDArray[np.float64])
Coefficient = Any
"""A float, or an array that broadcasts against clocks and work; results are of the caller's kind."""
Precision = Literal["bf16", "fp8"]


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


class GpuSpec(Spec):
    """One kind of GPU board; every power is per board.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        memory_bytes: device memory [bytes].
        memory_bandwidth_bytes_per_s: peak memory bandwidth [bytes/s].
        peak_bf16_flops: peak dense bf16 arithmetic rate [FLOP/s], without sparsity.
        peak_fp8_flops: the same in fp8 [FLOP/s]; 0 where the chip has no such units and runs fp8 at the rate of bf16.
        peak_fp4_flops: the same on 4-bit weights that stay packed [FLOP/s]; 0 where served kernels unpack them first.
        interconnect: catalogue name of how the boards of a server are wired; by default what a board without lines of
            its own has (assumption).
        kernels: what kernels reach of its peaks.
        tdp_w: rated board power [W].
        idle_w: draw with a model loaded and nothing running [W]; also while it loads one (assumption: the copy waits
            for its host).
        asleep_w: draw with no model loaded [W].
        static_w: part of an awake board's draw that does not depend on work or clock [W].
        floor_w: part that an awake board draws at full clock whatever its work [W]; falls as F V^2.
        joule_per_byte: energy of moving one byte of weights to or from device memory, and of what its kernels spend on
            it, at full voltage [J/byte].
        joule_per_context_byte: the same for a byte of KV cache, read by attention kernels [J/byte]; without it,
            `joule_per_byte`.
        joule_per_flop: energy of one FLOP at full voltage [J/FLOP].
        core_byte_fraction: share of `joule_per_byte` that is spent on the core's voltage, in [0, 1]; the rest is the
            memory's, and a byte of context costs as much there.
        knee_fraction: where the shoulder begins, as a share of the way from awake to limit, in (0, 1].
        shoulder_slope: watts drawn for each further watt of work beyond the knee, in [0, 1].
        limit_fraction: highest draw that is sustained, as a share of `tdp_w`.
        voltage_floor_fraction: clock fraction below which voltage no longer falls.
        compute_memory_fraction: m of compute-bound work, the share of its time that no clock changes, where a profile
            does not say it: 0.1 on an A100, 0.4 on an A40, whose memory is slow for its arithmetic (Perseus).
        clock_floor_fraction: lowest clock that an operator or the brake may set, as a share of the highest.
        rental_usd_per_hour: what a board costs by the hour where it is rented [USD/h]; only the ledger reads it, and
            states no rent without it.
        sources: where each number comes from, assumptions marked as such.
    """

    name: Name
    description: str = ""
    memory_bytes: PositiveFloat
    memory_bandwidth_bytes_per_s: PositiveFloat
    peak_bf16_flops: PositiveFloat
    peak_fp8_flops: NonNegativeFloat = 0.0
    peak_fp4_flops: NonNegativeFloat = 0.0
    interconnect: Name = "pcie-5"
    kernels: KernelSpec = KernelSpec()
    tdp_w: PositiveFloat
    idle_w: NonNegativeFloat
    asleep_w: NonNegativeFloat
    static_w: NonNegativeFloat
    floor_w: NonNegativeFloat
    joule_per_byte: NonNegativeFloat
    joule_per_context_byte: NonNegativeFloat
    joule_per_flop: NonNegativeFloat
    core_byte_fraction: UnitFraction = 0.0
    knee_fraction: PositiveFraction = 1.0
    shoulder_slope: UnitFraction = 1.0
    limit_fraction: PositiveFraction
    voltage_floor_fraction: PositiveFraction
    compute_memory_fraction: UnitFraction = 0.1
    clock_floor_fraction: PositiveFraction
    rental_usd_per_hour: NonNegativeFloat | None = None
    sources: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _context_costs_what_weights_cost(cls, values: Any) -> Any:
        if isinstance(values, dict) and "joule_per_byte" in values:
            return {"joule_per_context_byte": values["joule_per_byte"], **values}
        return values

    @model_validator(mode="after")
    def _check_order_of_powers(self) -> Self:
        problems = []
        if not self.asleep_w <= self.idle_w:
            problems.append(f"asleep_w must not exceed idle_w (got {self.asleep_w} > {self.idle_w})")
        slowest_w = busy_floor_w(self, self.clock_floor_fraction)
        if not self.idle_w <= slowest_w:
            problems.append(f"idle_w must not exceed a busy board's least draw, {slowest_w:.1f} (got {self.idle_w})")
        if not self.static_w + self.floor_w <= self.limit_w:
            problems.append(f"static_w + floor_w must not exceed limit_fraction * tdp_w, {self.limit_w:.1f}")
        if problems:
            raise SpecError(problems)
        return self

    def peak_flops(self, precision: Precision) -> float:
        """Peak arithmetic rate at a precision [FLOP/s]."""
        return (self.peak_fp8_flops if precision == "fp8" else 0.0) or self.peak_bf16_flops

    def products(self, precision: Precision) -> ProductSpec:
        """What products reach at a precision; those of bf16 where the chip computes fp8 at its rate."""
        return self.kernels.fp8 if precision == "fp8" and self.peak_fp8_flops else self.kernels.bf16

    @property
    def core_context_fraction(self) -> float:
        """Share of `joule_per_context_byte` that is spent on the core's voltage."""
        memory_joule_per_byte = (1.0 - self.core_byte_fraction) * self.joule_per_byte
        return max(0.0, 1.0 - memory_joule_per_byte / max(self.joule_per_context_byte, 1e-30))

    @property
    def limit_w(self) -> float:
        """Highest sustained draw [W]."""
        return self.limit_fraction * self.tdp_w


def load_gpu(name: str, search_paths: Sequence[PathLike] = ()) -> GpuSpec:
    """A GPU of the catalogue.

    Args:
        name: for example `h100-sxm`.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: an unknown name or an invalid file.

    >>> load_gpu("h100-sxm").tdp_w
    700.0
    """
    return GpuSpec.parse(load_entry("gpu", name, search_paths), f"gpu.{name}")


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


def busy_floor_w(gpu: GpuSpec | PowerCoefficients, clock_fraction: Number) -> Number:
    """Power of awake boards before any work is counted: static_w + floor_w F V^2 [W].

    Args:
        gpu: the board, or several together.
        clock_fraction: F in (0, 1].

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
    def at_clock(cls, gpu: GpuSpec | PowerCoefficients, clock_fraction: Coefficient) -> Draw:
        """Of a board, or several together, at F in (0, 1]."""
        busy_w: Coefficient = busy_floor_w(gpu, clock_fraction)
        slope, limit_w = gpu.shoulder_slope, gpu.limit_w
        shoulder_w = busy_w + gpu.knee_fraction * (1.0 - slope) * (limit_w - busy_w)
        return cls(busy_w, shoulder_w, slope, limit_w)

    def exceeds_limit(self, time_s: Number | float, work_j: Number) -> Coefficient:
        """Whether the work would draw more than the limit in that time; the shoulder says it, for it passes it last."""
        return self.shoulder_w * time_s + self.shoulder_slope * work_j > self.limit_w * time_s

    def energy_j(self, time_s: Number | float, work_j: Number) -> Number:
        """What they take in a time for the work they do in it [J]; in one second, watts for watts.

        Args:
            time_s: how long they are awake [s].
            work_j: energy of the work at the clock's voltage [J].

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


def board_power_w(
    gpu: GpuSpec, bytes_per_s: Number, flops: Number, clock_fraction: Number, context_bytes_per_s: Number | float = 0.0
) -> Number:
    """Power of one busy board by the one law [W].

    Args:
        gpu: the board.
        bytes_per_s: memory traffic other than the KV cache [bytes/s].
        flops: arithmetic rate [FLOP/s].
        clock_fraction: F in (0, 1].
        context_bytes_per_s: KV cache that is read [bytes/s].

    Returns:
        Watts, at most `gpu.limit_w`.

    >>> gpu = load_gpu("h100-sxm")
    >>> board_power_w(gpu, 3.0e12, 0.9e15, 1.0) == gpu.limit_w
    True
    """
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    moved_w = byte_energy_scale(gpu.core_byte_fraction, voltage) * gpu.joule_per_byte * bytes_per_s
    attended_w = (
        byte_energy_scale(gpu.core_context_fraction, voltage) * gpu.joule_per_context_byte * context_bytes_per_s
    )
    work_w = moved_w + attended_w + voltage * voltage * gpu.joule_per_flop * flops
    return Draw.at_clock(gpu, clock_fraction).energy_j(1.0, work_w)
