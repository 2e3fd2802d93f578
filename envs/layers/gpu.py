"""Layer 3, the GPU: what a board draws for the work it does, and what its clock costs and saves.

The one law of board power [W], per GPU, at clock fraction F:

    P = min( static_w + floor_w * F * V^2  +  joule_per_byte * bytes/s  +  V^2 * joule_per_flop * flop/s ,
             limit_fraction * tdp_w ),            V(F) = max(F, voltage_floor_fraction)

`static_w` leaks whatever the clock; `floor_w` is what an awake chip's clocks switch even on memory-bound work; the
memory runs on a clock of its own, so a byte costs the same at any F; a FLOP costs V^2. The form in F is that of
Perseus, whose measured A100 draws Ps + k * F * max(F, 0.76)^2 on compute-bound work, where flop/s is itself about
proportional to F.

Every coefficient is data: `tokenfleet/envs/catalog/gpu/<name>.yaml`, with its sources; `python -m calibration.fit`
recomputes the fitted ones.

References:
    J.-W. Chung et al., "Reducing Energy Bloat in Large Model Training" (Perseus), SOSP 2024,
    doi:10.1145/3694715.3695970. J.-W. Chung et al., "The ML.ENERGY Benchmark", NeurIPS 2025, arXiv:2505.06371 (the runs
    the watts are fitted to).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveFraction, Spec, SpecError

Number = TypeVar("Number", float, NDArray[np.float64])


class GpuSpec(Spec):
    """One kind of GPU board; every power is per board.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        memory_bytes: device memory [bytes].
        memory_bandwidth_bytes_per_s: peak memory bandwidth [bytes/s].
        peak_bf16_flops: peak dense bf16 arithmetic rate [FLOP/s], without sparsity.
        tdp_w: rated board power [W].
        idle_w: draw with a model loaded and nothing running [W].
        asleep_w: draw with no model loaded [W].
        static_w: part of a busy board's draw that does not depend on work or clock [W].
        floor_w: part that a busy board draws at full clock whatever its work [W]; falls as F V^2.
        joule_per_byte: energy of moving one byte to or from device memory [J/byte].
        joule_per_flop: energy of one FLOP at full voltage [J/FLOP].
        limit_fraction: highest draw that is sustained, as a share of `tdp_w`.
        voltage_floor_fraction: clock fraction below which voltage no longer falls.
        clock_floor_fraction: lowest clock that an operator or the brake may set, as a share of the highest.
        sources: where each number comes from, assumptions marked as such.
    """

    name: Name
    description: str = ""
    memory_bytes: PositiveFloat
    memory_bandwidth_bytes_per_s: PositiveFloat
    peak_bf16_flops: PositiveFloat
    tdp_w: PositiveFloat
    idle_w: NonNegativeFloat
    asleep_w: NonNegativeFloat
    static_w: NonNegativeFloat
    floor_w: NonNegativeFloat
    joule_per_byte: NonNegativeFloat
    joule_per_flop: NonNegativeFloat
    limit_fraction: PositiveFraction
    voltage_floor_fraction: PositiveFraction
    clock_floor_fraction: PositiveFraction
    sources: tuple[str, ...] = ()

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


def clock_stretch(clock_fraction: Number, memory_fraction: float) -> Number:
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


def voltage_fraction(clock_fraction: Number, voltage_floor_fraction: float) -> Number:
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


def busy_floor_w(gpu: GpuSpec, clock_fraction: Number) -> Number:
    """Board power of a busy GPU before any work is counted: static_w + floor_w F V^2 [W].

    Args:
        gpu: the board.
        clock_fraction: F in (0, 1].

    >>> gpu = load_gpu("h100-sxm")
    >>> busy_floor_w(gpu, 1.0) == gpu.static_w + gpu.floor_w
    True
    """
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    return gpu.static_w + gpu.floor_w * clock_fraction * voltage * voltage


def board_power_w(gpu: GpuSpec, bytes_per_s: Number, flops: Number, clock_fraction: Number) -> Number:
    """Power of one busy board by the one law [W].

    Args:
        gpu: the board.
        bytes_per_s: memory traffic [bytes/s].
        flops: arithmetic rate [FLOP/s].
        clock_fraction: F in (0, 1].

    Returns:
        Watts, at most `gpu.limit_w`.

    >>> gpu = load_gpu("h100-sxm")
    >>> board_power_w(gpu, 3.0e12, 0.9e15, 1.0) == gpu.limit_w
    True
    """
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    work_w = gpu.joule_per_byte * bytes_per_s + voltage * voltage * gpu.joule_per_flop * flops
    power_w = busy_floor_w(gpu, clock_fraction) + work_w
    if isinstance(power_w, np.ndarray):
        return np.minimum(power_w, gpu.limit_w)
    return min(power_w, gpu.limit_w)
