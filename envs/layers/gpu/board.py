"""Layer 3, the GPU: a kind of board, and its draw by the law of `tokenfleet.envs.layers.gpu.power_law`.

Every coefficient is data: `tokenfleet/envs/catalog/gpu/<name>.yaml`, with its sources; `python -m calibration.fit`
recomputes the fitted ones, and says how far each law is from its measurements. An entry needs no more than a data
sheet: `data_sheet` fills in the watts that it leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry
from tokenfleet.envs.layers.gpu.data_sheet import with_watts
from tokenfleet.envs.layers.gpu.kernels import KernelSpec, ProductSpec
from tokenfleet.envs.layers.gpu.power_law import Draw, Number, busy_floor_w, byte_energy_scale, voltage_fraction
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveFraction, Spec, SpecError, UnitFraction

Precision = Literal["bf16", "fp8"]
FILLED_IN: Any = Field(json_schema_extra={"left_out": "from the data sheet"})
"""A key that `data_sheet` fills in where an entry leaves it out."""


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
        interconnect: catalogue name of how the boards of a server are wired; the default is for boards without lines of
            their own (assumption).
        kernels: what kernels reach of its peaks.
        tdp_w: rated board power [W].
        idle_w: draw with a model loaded and nothing running [W]; also during loading (assumption: the copy waits for
            its host).
        asleep_w: draw with no model loaded [W].
        static_w: part of an awake board's draw that does not depend on work or clock [W].
        floor_w: part of an awake board's draw at full clock that does not depend on its work [W]; falls as F V^2.
        joule_per_byte: energy of moving one byte of weights to or from device memory and of its kernels' work on it, at
            full voltage [J/byte].
        joule_per_context_byte: the same for a byte of KV cache, read by attention kernels [J/byte]; by default
            `joule_per_byte`.
        joule_per_flop: energy of one FLOP at full voltage [J/FLOP].
        core_byte_fraction: share of `joule_per_byte` that is spent at the core's voltage, in [0, 1]; the memory spends
            the rest, and as many joules on a byte of context.
        knee_fraction: where the shoulder begins, as a share of the way from awake to limit, in (0, 1].
        shoulder_slope: watts drawn for each further watt of work beyond the knee, in [0, 1].
        limit_fraction: highest draw that is sustained, as a share of `tdp_w`.
        voltage_floor_fraction: clock fraction below which voltage no longer falls.
        compute_memory_fraction: m of compute-bound work, the share of its time that no clock changes, for profiles
            without an own value: 0.1 on an A100, 0.4 on an A40, whose memory is slow for its arithmetic (Perseus).
        clock_floor_fraction: lowest clock that an operator or the brake may set, as a share of the highest.
        rental_usd_per_hour: rent of a board by the hour [USD/h], for the ledger and as the default pay of training; 0
            in both where it is left out.
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
    idle_w: NonNegativeFloat = FILLED_IN
    asleep_w: NonNegativeFloat = FILLED_IN
    static_w: NonNegativeFloat = FILLED_IN
    floor_w: NonNegativeFloat = FILLED_IN
    joule_per_byte: NonNegativeFloat = FILLED_IN
    joule_per_context_byte: NonNegativeFloat = FILLED_IN
    joule_per_flop: NonNegativeFloat = FILLED_IN
    core_byte_fraction: UnitFraction = 0.0
    knee_fraction: PositiveFraction = 1.0
    shoulder_slope: UnitFraction = 1.0
    limit_fraction: PositiveFraction = FILLED_IN
    voltage_floor_fraction: PositiveFraction = FILLED_IN
    compute_memory_fraction: UnitFraction = 0.1
    clock_floor_fraction: PositiveFraction = FILLED_IN
    rental_usd_per_hour: NonNegativeFloat | None = None
    sources: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "joule_per_byte" in values:
            values = {"joule_per_context_byte": values["joule_per_byte"], **values}
        return with_watts(values)

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
        """What products reach at a precision; those of bf16 for fp8 on a chip without fp8 units."""
        return self.kernels.fp8 if precision == "fp8" and self.peak_fp8_flops else self.kernels.bf16

    @property
    def core_context_fraction(self) -> float:
        """Share of `joule_per_context_byte` that is spent at the core's voltage."""
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


def board_power_w(
    gpu: GpuSpec, bytes_per_s: Number, flops: Number, clock_fraction: Number, context_bytes_per_s: Number | float = 0.0
) -> Number:
    """Power of one busy board by the law of `power_law` [W].

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
