"""Layer 4, coefficients of an iteration: what a replica's boards take for each part, and how it follows the clock.

`Coefficients` are those of a model on its boards at full clock. `Physics` is the same at the clock asked for. The law
that reads both is in `tokenfleet.envs.layers.llm.iteration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import (
    Coefficient,
    Draw,
    GpuSpec,
    PowerCoefficients,
    byte_energy_scale,
    clock_stretch,
    voltage_fraction,
)
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.profile import ProfileSpec
from tokenfleet.envs.layers.llm.work import reading_j, useful_token_j, vain_arithmetic_j

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class TimeCoefficients:
    """What the law of time reads: fields of `ProfileSpec`, floats or arrays that broadcast against batches [s]."""

    host_s: Coefficient
    token_s: Sequence[float] | Float64Array  # at the knots, `[..., J]`
    decode_s: Coefficient
    context_s: Coefficient
    mixed_context_s: Coefficient
    prefill_attention_s: Coefficient


@dataclass(frozen=True)
class WorkCoefficients:
    """What the work of an iteration takes, all boards of a replica together; broadcast as times do.

    Attributes:
        work_j: reading the weights for each of `TOKEN_KNOTS` tokens, packed ones at their own cost, and the vain
            arithmetic of experts with few rows, `[..., J]` [J]; times M(core_byte_fraction).
        context_j: reading one token of KV cache [J]; times M(core_context_fraction).
        token_j: the arithmetic of one token, decoded or prefilled [J]; times V^2.
        attention_j: the arithmetic of one (query, key) pair of prefill attention [J]; times V^2.
    """

    work_j: Sequence[float] | Float64Array
    context_j: Coefficient
    token_j: Coefficient
    attention_j: Coefficient


@dataclass(frozen=True)
class ClockShare(TimeCoefficients, WorkCoefficients):
    """Coefficients of the share of time and work that follows the clock, or of the whole at full clock."""


@dataclass(frozen=True)
class Physics(TimeCoefficients, WorkCoefficients):
    """The coefficients at the clock asked for, or at many, and what a slower one would change.

    Attributes:
        draw: what the boards draw at that clock.
        clock_fraction: that clock, F.
        full_clock: the coefficients at full clock.
    """

    draw: Draw
    clock_fraction: Coefficient
    full_clock: Coefficients


@dataclass(frozen=True)
class Coefficients(TimeCoefficients, WorkCoefficients, PowerCoefficients):
    """What an iteration of a replica takes at full clock, all its boards together, and how each part follows the clock.

    Attributes:
        token_memory_share: at the knots, `[..., J]`; see `ProfileSpec`.
        decode_memory_fraction, prefill_memory_fraction: m of memory-bound and of compute-bound time.
    """

    token_memory_share: Float64Array
    decode_memory_fraction: Coefficient
    prefill_memory_fraction: Coefficient

    @classmethod
    def of(cls, gpu: GpuSpec, model: ModelSpec, profile: ProfileSpec) -> Coefficients:
        """Of a model on its boards.

        >>> from tokenfleet.envs.layers import gpu, llm
        >>> from tokenfleet.envs.layers.llm.iteration import Batch, iteration_energy_j, iteration_time_s
        >>> parts = gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b")
        >>> coefficients = Coefficients.of(*parts, llm.load_profile("llama-3.1-8b", "h100-sxm", 1))
        >>> physics, batch = coefficients.at_clock(1.0), Batch(32.0, 32 * 590.0, 0.0, 0.0)
        >>> round(iteration_energy_j(physics, batch) / iteration_time_s(physics, batch))
        557
        """
        shared, factor = profile.parallelism, profile.power_factor
        boards, token_s = shared.boards, np.array(profile.token_s)
        read_j = reading_j(gpu, model, shared) if profile.work_j is None else np.array(profile.work_j)
        vain_j = vain_arithmetic_j(gpu, model, shared, token_s)
        context_bytes = model.kv_bytes_per_token * model.kv_copies(shared.tensor)
        return cls(
            host_s=profile.host_s,
            token_s=token_s,
            token_memory_share=np.array(profile.token_memory_share),
            decode_s=profile.decode_s,
            context_s=profile.context_s,
            mixed_context_s=profile.mixed_context_s,
            prefill_attention_s=profile.prefill_attention_s,
            decode_memory_fraction=profile.decode_memory_fraction,
            prefill_memory_fraction=(
                gpu.compute_memory_fraction
                if profile.prefill_memory_fraction is None
                else profile.prefill_memory_fraction
            ),
            work_j=factor * (read_j + vain_j),
            context_j=factor * (gpu.joule_per_context_byte * context_bytes),
            token_j=factor * useful_token_j(gpu, model),
            attention_j=factor * (gpu.joule_per_flop * model.attention_flops_per_pair),
            static_w=boards * gpu.static_w,
            floor_w=boards * gpu.floor_w,
            core_byte_fraction=gpu.core_byte_fraction,
            core_context_fraction=gpu.core_context_fraction,
            knee_fraction=gpu.knee_fraction,
            shoulder_slope=gpu.shoulder_slope,
            limit_w=boards * gpu.limit_w,
            voltage_floor_fraction=gpu.voltage_floor_fraction,
        )

    @classmethod
    def stack(cls, replicas: Sequence[Coefficients]) -> Coefficients:
        """Of several replicas side by side, `[P]`, and `[P, J]` at the knots."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.array([getattr(one, name) for one in replicas], np.float64) for name in names})

    def replica(self, index: int) -> Coefficients:
        """One of those side by side."""
        own: dict[str, Coefficient] = {field.name: getattr(self, field.name)[index] for field in fields(self)}
        plain: dict[str, Coefficient] = {name: part if part.ndim else float(part) for name, part in own.items()}
        return Coefficients(**plain)

    def at_clock(self, clock_fraction: Coefficient) -> Physics:
        """The coefficients at F in (0, 1]."""
        decode: Coefficient = clock_stretch(clock_fraction, self.decode_memory_fraction)
        prefill: Coefficient = clock_stretch(clock_fraction, self.prefill_memory_fraction)
        voltage: Coefficient = voltage_fraction(clock_fraction, self.voltage_floor_fraction)
        stretch = _beside_knots(prefill) + _beside_knots(decode - prefill) * self.token_memory_share
        return Physics(
            host_s=self.host_s,
            token_s=_plain(self.token_s * stretch),
            decode_s=self.decode_s * decode,
            context_s=self.context_s * decode,
            mixed_context_s=self.mixed_context_s * decode,
            prefill_attention_s=self.prefill_attention_s * prefill,
            work_j=_plain(self.work_j * _beside_knots(byte_energy_scale(self.core_byte_fraction, voltage))),
            context_j=self.context_j * byte_energy_scale(self.core_context_fraction, voltage),
            token_j=self.token_j * (voltage * voltage),
            attention_j=self.attention_j * (voltage * voltage),
            draw=Draw.at_clock(self, clock_fraction),
            clock_fraction=clock_fraction,
            full_clock=self,
        )

    @cached_property
    def full(self) -> ClockShare:
        """All of it, at full clock."""
        names = [field.name for field in fields(ClockShare)]
        knots = {"token_s": _plain(np.asarray(self.token_s)), "work_j": _plain(np.asarray(self.work_j))}
        return ClockShare(**{name: knots[name] if name in knots else getattr(self, name) for name in names})

    @cached_property
    def core(self) -> ClockShare:
        """The part that follows the core: time as 1 / F, joules as V^2."""
        decode, prefill = self.decode_memory_fraction, self.prefill_memory_fraction
        share = _beside_knots(prefill) + _beside_knots(decode - prefill) * self.token_memory_share
        return ClockShare(
            host_s=0.0,
            token_s=_plain(self.token_s * (1.0 - share)),
            decode_s=self.decode_s * (1.0 - decode),
            context_s=self.context_s * (1.0 - decode),
            mixed_context_s=self.mixed_context_s * (1.0 - decode),
            prefill_attention_s=self.prefill_attention_s * (1.0 - prefill),
            work_j=_plain(self.work_j * _beside_knots(self.core_byte_fraction)),
            context_j=self.context_j * self.core_context_fraction,
            token_j=self.token_j,
            attention_j=self.attention_j,
        )


def _beside_knots(coefficient: Coefficient) -> Float64Array:
    """With a last axis to broadcast against the knots."""
    return np.asarray(coefficient, np.float64)[..., None]


def _plain(values: Float64Array) -> Sequence[float] | Float64Array:
    """A list for one replica at one clock: an engine looks up single knots in it several times as fast."""
    listed: list[float] = values.tolist() if values.ndim == 1 else []
    return listed or values
