"""Layer 4, one iteration of a serving replica: the one law of its time and its energy at a clock.

An iteration decodes B sequences whose context (prompt and tokens generated so far) totals C tokens, and prefills P
prompt tokens with A (query, key) pairs of attention, the sum of `pairs` over its chunks. Where some layers see a
sliding window, C and A are what all layers attend to, counted in layers without one: c + window_ratio * min(c,
window_tokens) for a sequence of c tokens, a chunk's pairs likewise. At clock fraction F an iteration takes, by the
fields of `Coefficients` in `tokenfleet.envs.layers.llm.coefficients`,

    phi(m)     = m + (1 - m) / F
    T          = token_s * phi(prefill_memory_fraction
                 + (decode_memory_fraction - prefill_memory_fraction) * token_memory_share)
    context    = context_s + (mixed_context_s if P > 0 else 0)
    time       = host_s + line(T, B + P) + (decode_s * B + context * C) * phi(decode_memory_fraction)
                 + prefill_attention_s * A * phi(prefill_memory_fraction)
    V          = max(F, voltage_floor_fraction)
    M(core)    = 1 - core * (1 - V^2)
    work       = M(core_byte_fraction) * line(work_j, B + P) + M(core_context_fraction) * context_j * C
                 + V^2 * (token_j * (B + P) + attention_j * A)
    awake      = static_w + floor_w * F * V^2
    shoulder   = awake + knee_fraction * (1 - shoulder_slope) * (limit_w - awake)
    excess     = shoulder * time + shoulder_slope * work - limit_w * time
    energy     = min(awake * time + work, shoulder * time + shoulder_slope * work, limit_w * time)
    pairs(chunk, prior) = chunk * prior + chunk * (chunk + 1) / 2

`line` goes straight from knot to knot: `token_s`, `token_memory_share` and `work_j` are given at `TOKEN_KNOTS` = 1, 2,
4 ... 16384 tokens, and beyond the last knot the last piece goes on. Weights, matrix products, element-wise layers,
collectives and experts are in it, read once for decoding and prefilled tokens together. A kernel for prompts and
decoding sequences in one call reads the contexts more slowly than a kernel for decoding alone (`mixed_context_s`). The
FLOPs of decode attention are not counted apart: they go with C as the bytes of the KV cache do, and
`joule_per_context_byte` holds them.

F is the clock asked for where `excess` is not above 0. Where it is, the boards would draw more than their limit, so
they slow down: F is the highest clock below the one asked for at which `excess` is not above 0, and the boards draw
`limit_w` (`tokenfleet.envs.layers.gpu.clock`). A profile states its times as if no limit bound them.

The reference engine, the heuristics' models, the action's capacities, the fits and `tokenfleet.envs.fitting` call the
functions below; `envs/engine/cpp/physics.hpp` mirrors them by name. docs/layers.md repeats the block, and a test
evaluates it.

References:
    A. Agrawal et al., "Vidur: A Large-Scale Simulation Framework for LLM Inference", MLSys 2024, arXiv:2405.05465.
    P. Patel et al., "Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024, arXiv:2311.18677.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

import numpy as np

from tokenfleet.envs.layers.gpu import Coefficient, Load, Number, clock_under_limit
from tokenfleet.envs.layers.llm.attention import prefill_pairs as prefill_pairs
from tokenfleet.envs.layers.llm.attention import window_pairs as window_pairs
from tokenfleet.envs.layers.llm.coefficients import (
    Float64Array,
    Physics,
    TimeCoefficients,
    WorkCoefficients,
)
from tokenfleet.envs.layers.llm.profile import KNOTS, TOKEN_KNOTS, ProfileSpec

LAST_PIECE = len(TOKEN_KNOTS) - 2


@dataclass(slots=True)
class Batch(Generic[Number]):
    """What an iteration works on.

    Attributes:
        decoding: B, sequences that decode.
        context: C, their context, including what windowed layers see of it [tokens].
        prefill: P [tokens].
        pairs: A, (query, key) pairs of prefill attention.
    """

    decoding: Number
    context: Number
    prefill: Number
    pairs: Number

    @property
    def tokens(self) -> Number:
        """Tokens that the iteration computes, B + P."""
        return self.decoding + self.prefill


def at_tokens(values: Sequence[float] | Float64Array, tokens: Number) -> Number:
    """A quantity that is given at `TOKEN_KNOTS`, at any number of tokens.

    Args:
        values: at the knots, the last axis `[..., J]`; the other axes broadcast against `tokens`.
        tokens: n; below one it counts as one, beyond the last knot the last piece goes on. For an `int`, as engines
            ask, plain floats answer, thirty times as fast.

    >>> at_tokens(np.array(TOKEN_KNOTS) * 3.0, 40_000.0)
    120000.0
    """
    if isinstance(tokens, int):
        count = tokens if tokens > 1 else 1
        piece = count.bit_length() - 1 if count < TOKEN_KNOTS[-1] else LAST_PIECE
        low, knot = values[piece], TOKEN_KNOTS[piece]
        value: Number = low + (values[piece + 1] - low) * ((count - knot) / knot)
        return value
    counts = np.asarray(np.maximum(tokens, 1.0))
    pieces = np.clip(np.searchsorted(KNOTS, counts, side="right") - 1, 0, LAST_PIECE)
    table = np.asarray(values)
    shape: tuple[int, ...] = np.broadcast_shapes(table.shape[:-1], pieces.shape)
    index, table = np.broadcast_to(pieces, shape)[..., None], np.broadcast_to(table, (*shape, len(KNOTS)))
    lows, highs = (np.take_along_axis(table, index + step, axis=-1)[..., 0] for step in (0, 1))
    found = lows + (highs - lows) * ((counts - KNOTS[pieces]) / KNOTS[pieces])
    return cast(Number, found if found.ndim else float(found))


def context_token_s(physics: TimeCoefficients | ProfileSpec, prefill: Number) -> Coefficient:
    """Time of each token of the decoding sequences' context, beside `prefill` tokens of prompts [s]."""
    return physics.context_s + physics.mixed_context_s * (prefill > 0)


def unlimited_time_s(coefficients: TimeCoefficients | ProfileSpec, batch: Batch[Number]) -> Number:
    """How long an iteration takes at the coefficients' clock without a limit of power [s]."""
    context_s = context_token_s(coefficients, batch.prefill)
    token_s = at_tokens(coefficients.token_s, batch.tokens)
    time_s: Number = (coefficients.host_s + token_s + coefficients.decode_s * batch.decoding) + (
        coefficients.prefill_attention_s * batch.pairs + context_s * batch.context
    )
    return time_s


def iteration_work_j(coefficients: WorkCoefficients, batch: Batch[Number]) -> Number:
    """Energy of an iteration's bytes and FLOPs at the coefficients' clock, without the boards' awake draw [J]."""
    tokens = batch.tokens
    work_j: Number = (at_tokens(coefficients.work_j, tokens) + coefficients.token_j * tokens) + (
        coefficients.attention_j * batch.pairs + coefficients.context_j * batch.context
    )
    return work_j


@dataclass(frozen=True)
class Effort(Generic[Number]):
    """What an iteration takes at the clock in force, over all boards of a replica.

    Attributes:
        clock_fraction: that clock; lower than the one asked for where the boards' limit binds.
        time_s: how long it lasts [s].
        power_w: mean draw of the boards [W]; never above their limit, to the last bit.
    """

    clock_fraction: Coefficient
    time_s: Number
    power_w: Number

    @property
    def energy_j(self) -> Number:
        """Energy of the boards in the iteration [J]."""
        energy_j: Number = self.power_w * self.time_s
        return energy_j


def iteration_effort(physics: Physics, batch: Batch[Number]) -> Effort[Number]:
    """An iteration at the clock asked for, or at the highest below it that holds the boards' limit.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> from tokenfleet.envs.layers.llm.coefficients import Coefficients
    >>> parts = gpu.load_gpu("a100-sxm-80gb"), llm.load_model("llama-3.1-8b")
    >>> law = Coefficients.of(*parts, llm.load_profile("llama-3.1-8b", "a100-sxm-80gb", 1))
    >>> prompt = iteration_effort(law.at_clock(1.0), Batch(0.0, 0.0, 4096.0, prefill_pairs(4096.0)))
    >>> prompt.clock_fraction < 1.0, prompt.power_w
    (True, 394.0)
    """
    time_s, work_j = unlimited_time_s(physics, batch), iteration_work_j(physics, batch)
    power_w: Number = physics.draw.energy_j(1.0, work_j / time_s)
    is_over = physics.draw.exceeds_limit(time_s, work_j)
    if not (is_over.any() if isinstance(is_over, np.ndarray) else is_over):
        return Effort(physics.clock_fraction, time_s, power_w)
    asked, law = physics.clock_fraction, physics.full_clock
    core_s, core_j = unlimited_time_s(law.core, batch), iteration_work_j(law.core, batch)
    full_s, full_j = unlimited_time_s(law.full, batch), iteration_work_j(law.full, batch)
    load: Load[Number] = Load(full_s - core_s, core_s, full_j - core_j, core_j)
    clock = clock_under_limit(law, load, asked)
    limited: Effort[Any] = Effort(clock, load.time_s(clock), law.limit_w)
    if isinstance(is_over, np.ndarray):
        limited = Effort(
            np.where(is_over, limited.clock_fraction, asked),
            np.where(is_over, limited.time_s, time_s),
            np.where(is_over, limited.power_w, power_w),
        )
    return limited


def iteration_time_s(physics: TimeCoefficients | ProfileSpec, batch: Batch[Number]) -> Number:
    """How long an iteration takes [s]: under the boards' limit by a `Physics`, without one by any other coefficients.

    >>> from tokenfleet.envs.layers import llm
    >>> profile = llm.load_profile("llama-3.1-8b", "h100-sxm", 1)
    >>> round(1e3 * iteration_time_s(profile, Batch(64.0, 64 * 590.0, 0.0, 0.0)), 1)
    11.5
    """
    if isinstance(physics, Physics):
        return iteration_effort(physics, batch).time_s
    return unlimited_time_s(physics, batch)


def iteration_energy_j(physics: Physics, batch: Batch[Number]) -> Number:
    """What all boards of a replica draw in an iteration [J]."""
    return iteration_effort(physics, batch).energy_j


def iteration_power_w(physics: Physics, batch: Batch[Number]) -> Number:
    """Mean draw of a replica's boards in an iteration [W]; never above their limit, to the last bit."""
    return iteration_effort(physics, batch).power_w
