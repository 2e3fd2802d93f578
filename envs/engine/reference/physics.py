"""A pool's coefficients at one clock, and what an iteration takes by them."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.envs.engine.arrays import FleetArrays


@dataclass(frozen=True)
class Physics:
    """A pool's coefficients at one clock; see `layers.llm` for the model and `FleetArrays` for units."""

    host_s: float
    token_s: tuple[float, ...]
    decode_s: float
    context_s: float
    mixed_context_s: float
    prefill_attention_s: float
    busy_w: float
    work_j: tuple[float, ...]
    context_j: float
    token_j: float
    attention_j: float
    shoulder_w: float
    shoulder_slope: float
    limit_w: float

    @classmethod
    def at_clock(cls, a: FleetArrays, p: int, decode_memory_fraction: float, clock: float) -> Physics:
        """The coefficients of pool `p` at clock fraction `clock`."""
        decode = clock_scaling(decode_memory_fraction, clock)
        prefill = clock_scaling(float(a.prefill_memory_fraction[p]), clock)
        voltage = max(clock, float(a.voltage_floor_fraction[p]))
        byte_scale = byte_energy_scale(float(a.core_byte_fraction[p]), voltage)
        context_scale = byte_energy_scale(float(a.core_context_fraction[p]), voltage)
        busy_w = float(a.static_w[p]) + float(a.floor_w[p]) * clock * (voltage * voltage)
        limit_w, slope = float(a.limit_w[p]), float(a.shoulder_slope[p])
        return cls(
            host_s=float(a.host_s[p]),
            token_s=tuple((a.token_s[p] * (prefill + (decode - prefill) * a.token_memory_share[p])).tolist()),
            decode_s=float(a.decode_s[p]) * decode,
            context_s=float(a.context_s[p]) * decode,
            mixed_context_s=float(a.mixed_context_s[p]) * decode,
            prefill_attention_s=float(a.prefill_attention_s[p]) * prefill,
            busy_w=busy_w,
            work_j=tuple((a.work_j[p] * byte_scale).tolist()),
            context_j=float(a.context_j[p]) * context_scale,
            token_j=float(a.token_j[p]) * (voltage * voltage),
            attention_j=float(a.attention_j[p]) * (voltage * voltage),
            shoulder_w=busy_w + float(a.knee_fraction[p]) * (1.0 - slope) * (limit_w - busy_w),
            shoulder_slope=slope,
            limit_w=limit_w,
        )

    def iteration(self, decoding: int, context: int, prefill: int, pairs: int) -> tuple[float, float]:
        """Time [s] and board energy [J] of one iteration."""
        tokens = decoding + prefill
        context_s = self.context_s + self.mixed_context_s if prefill else self.context_s
        time_s = (self.host_s + at_tokens(self.token_s, tokens) + self.decode_s * decoding) + (
            self.prefill_attention_s * pairs + context_s * context
        )
        work_j = (at_tokens(self.work_j, tokens) + self.token_j * tokens) + (
            self.attention_j * pairs + self.context_j * context
        )
        follows_j = self.busy_w * time_s + work_j
        shoulder_j = self.shoulder_w * time_s + self.shoulder_slope * work_j
        return time_s, min(follows_j, shoulder_j, self.limit_w * time_s)


def at_tokens(values: tuple[float, ...], tokens: int) -> float:
    """Value at `tokens` >= 1 of the line through the knots 1, 2, 4 ...; the last piece goes on beyond the last knot."""
    piece = min(tokens.bit_length() - 1, len(values) - 2)
    low = float(1 << piece)
    return values[piece] + (values[piece + 1] - values[piece]) * ((tokens - low) / low)


def clock_scaling(memory_fraction: float, clock_fraction: float) -> float:
    """How much longer work takes at a lower clock: `m + (1 - m) / F`."""
    return memory_fraction + (1.0 - memory_fraction) / clock_fraction


def byte_energy_scale(core_fraction: float, voltage: float) -> float:
    """Energy of a byte over its value at full voltage."""
    return 1.0 - core_fraction * (1.0 - voltage * voltage)
