"""Layer 4, one iteration of a serving replica: its time, its energy, and the least time that physics allows.

An iteration that decodes B sequences whose context (prompt and tokens generated so far) totals C tokens, and prefills P
prompt tokens with A attention pairs, takes at clock fraction F

    tau = host_s + T_F(n) + (decode_s B + c C) phi(F, m_decode) + prefill_attention_s A phi(F, m_prefill)

with n = B + P tokens computed and c = `context_s`, plus `mixed_context_s` where P > 0: a kernel that serves prompts and
decoding sequences in one call reads the contexts more slowly than one that only decodes. T_F is affine between the
knots `TOKEN_KNOTS` = 1, 2, 4 ... 16384 tokens, and goes on as between the last two; at each knot it is `token_s[j]
phi(F, m_j)`, where m_j lies between m_prefill and m_decode as `token_memory_share[j]` does between 0 and 1. Weights,
matrix products, element-wise layers, collectives and experts are in it, read once for decoding and prefilled tokens
together.

All boards of the replica together draw, by the law of `layers.gpu` with awake = tp (static_w + floor_w F V^2),

    work   = M W(n) + M_context context_j C + V^2 (token_j n + attention_j A)
    energy = min( awake tau + work,  shoulder tau + shoulder_slope work,  tp limit_fraction tdp_w tau ),

with work times the profile's power_factor, where W(n) goes through the knots `work_j`, the energy of reading the
weights that n tokens need.

A = sum over prefill chunks of `chunk * prior + chunk (chunk + 1) / 2`, a whole number. The FLOPs of decode attention
are not counted apart: they go with C as the bytes of the KV cache do, and joule_per_context_byte holds them.

References:
    A. Agrawal et al., "Vidur: A Large-Scale Simulation Framework for LLM Inference", MLSys 2024, arXiv:2405.05465.
    P. Patel et al., "Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024, arXiv:2311.18677.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import GpuSpec, Number, byte_energy_scale, clock_stretch, drawn_w, voltage_fraction
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, ModelSpec, ProfileSpec

Float64Array = NDArray[np.float64]
KNOTS = np.array(TOKEN_KNOTS, dtype=np.float64)
EXPERT_FLOP_COST = 3.7
"""What a FLOP of a routed expert costs over one of a layer that every token passes: an expert has few rows at a time.

This and the next are fitted to five mixtures of experts in bf16 and MXFP4 on H100 and B200, by the laws of dense models
for all else (`calibration.fit.power.experts`); without any one of the five they are 3.6 to 3.9 and 2.0 to 2.3.
"""
PACKED_BYTE_COST = 2.2
"""What a byte of routed experts in less than 8 bits a weight costs over one of weights that need no unpacking."""


@dataclass(frozen=True)
class WorkEnergy:
    """Energy of work at full voltage, all boards of a replica together; what an engine precomputes.

    Attributes:
        work_j: reading the weights that each of `TOKEN_KNOTS` tokens needs, packed ones at their own cost [J]; times M.
        context_j: reading one token of KV cache [J]; times M_context.
        token_j: the arithmetic of one token, decoded or prefilled, experts at their own cost [J]; times V^2.
        attention_j: the arithmetic of one (query, key) pair of prefill attention [J]; times V^2.
    """

    work_j: tuple[float, ...]
    context_j: float
    token_j: float
    attention_j: float


def work_energy(gpu: GpuSpec, model: ModelSpec, profile: ProfileSpec) -> WorkEnergy:
    """The energy coefficients of a model on a GPU.

    A FLOP in fp8 costs what one in bf16 costs: so priced, the law of the H100's bf16 models is within 6 % of the watts
    of Llama 3.1 405B in fp8 (ML.ENERGY v3); at half the price it is 15 % too low.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> profile = llm.load_profile("llama-3.1-8b", "h100-sxm", 1)
    >>> round(work_energy(gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b"), profile).work_j[0], 2)
    1.91
    """
    priced_bytes = model.weight_bytes_read(KNOTS)
    if model.has_packed_experts:
        priced_bytes = priced_bytes + (PACKED_BYTE_COST - 1.0) * model.expert_bytes_read(KNOTS)
    return WorkEnergy(
        work_j=profile.work_j or tuple((gpu.joule_per_byte * priced_bytes).tolist()),
        context_j=gpu.joule_per_context_byte * model.kv_bytes_per_token * model.kv_copies(profile.tensor_parallel),
        token_j=gpu.joule_per_flop * (model.flops_per_token + (EXPERT_FLOP_COST - 1.0) * model.expert_flops_per_token),
        attention_j=gpu.joule_per_flop * model.attention_flops_per_pair,
    )


def at_tokens(values: Float64Array, tokens: Number) -> Number:
    """A quantity that is given at `TOKEN_KNOTS`, at any number of tokens.

    Args:
        values: at the knots, the last axis `[..., J]`; the other axes broadcast against `tokens`.
        tokens: n; below one it counts as one, beyond the last knot the last piece goes on.

    >>> at_tokens(np.array(TOKEN_KNOTS) * 3.0, 40_000.0)
    120000.0
    """
    count = np.asarray(np.maximum(tokens, 1.0))
    piece = np.clip(np.searchsorted(KNOTS, count, side="right") - 1, 0, len(KNOTS) - 2)
    shape: tuple[int, ...] = np.broadcast_shapes(values.shape[:-1], piece.shape)
    index, table = np.broadcast_to(piece, shape)[..., None], np.broadcast_to(values, (*shape, len(KNOTS)))
    low, high = (np.take_along_axis(table, index + step, axis=-1)[..., 0] for step in (0, 1))
    found = low + (high - low) * ((count - KNOTS[piece]) / KNOTS[piece])
    return cast(Number, found if found.ndim else float(found))


def token_stretch(
    memory_share: Float64Array,
    clock_fraction: Float64Array,
    decode_memory_fraction: Float64Array | float,
    prefill_memory_fraction: Float64Array | float,
) -> Float64Array:
    """How much longer each knot takes at a lower clock, phi(F, m_j); arguments broadcast with `[..., J]`."""
    memory_fraction = prefill_memory_fraction + (decode_memory_fraction - prefill_memory_fraction) * memory_share
    return memory_fraction + (1.0 - memory_fraction) / clock_fraction


def prefill_pairs(prior_tokens: int, chunk_tokens: int) -> int:
    """(query, key) pairs of a prefill chunk: each of its tokens sees the prior ones, those before it, and itself.

    >>> prefill_pairs(0, 4), prefill_pairs(4, 2)
    (10, 11)
    """
    return chunk_tokens * prior_tokens + chunk_tokens * (chunk_tokens + 1) // 2


def iteration_time_s(
    profile: ProfileSpec,
    decoding: Number,
    context_tokens: Number,
    prefill_tokens: Number,
    pairs: Number,
    clock_fraction: Number,
) -> Number:
    """How long an iteration takes, by the module's equation [s].

    Args:
        profile: the coefficients.
        decoding: B, sequences that decode.
        context_tokens: C, their context [tokens].
        prefill_tokens: P [tokens].
        pairs: A, (query, key) pairs of prefill attention.
        clock_fraction: F in (0, 1].

    >>> from tokenfleet.envs.layers import llm
    >>> profile = llm.load_profile("llama-3.1-8b", "h100-sxm", 1)
    >>> round(1e3 * iteration_time_s(profile, 64.0, 64 * 590.0, 0.0, 0.0, 1.0), 1)
    11.5
    """
    decode_memory, prefill_memory = profile.decode_memory_fraction, profile.prefill_memory_fraction
    share, clock = np.array(profile.token_memory_share), np.asarray(clock_fraction)[..., None]
    stretched_s = np.array(profile.token_s) * token_stretch(share, clock, decode_memory, prefill_memory)
    token_s = at_tokens(stretched_s, decoding + prefill_tokens)
    context_s = profile.context_s + profile.mixed_context_s * (prefill_tokens > 0.0)
    decode_s = profile.decode_s * decoding + context_s * context_tokens
    attention_s = profile.prefill_attention_s * pairs
    return (
        profile.host_s
        + token_s
        + decode_s * clock_stretch(clock_fraction, decode_memory)
        + attention_s * clock_stretch(clock_fraction, prefill_memory)
    )


def largest_batch(
    token_s: Float64Array,
    tokens_per_sequence: Number,
    sequence_s: Number,
    fixed_s: Number,
    limit_s: Number,
) -> Float64Array:
    """The batch B at which `fixed_s + T(tokens_per_sequence B) + sequence_s B` reaches a limit.

    Args:
        token_s: T at the knots, `[..., J]` [s].
        tokens_per_sequence: what an iteration computes for each sequence, prefill included [tokens].
        sequence_s: for each sequence [s], more than 0.
        fixed_s: for each iteration [s].
        limit_s: may be infinite [s].

    Returns:
        B, broadcast; not above 0 where the limit leaves no room.

    >>> round(float(largest_batch(np.array(TOKEN_KNOTS) * 1e-3, 1.0, 2e-3, 0.1, 0.4)), 6)
    100.0
    """
    per_token_s = np.asarray(sequence_s / tokens_per_sequence)[..., None]
    reached_s = np.asarray(fixed_s)[..., None] + token_s + per_token_s * KNOTS
    piece = np.clip((reached_s <= np.asarray(limit_s)[..., None]).sum(axis=-1) - 1, 0, len(KNOTS) - 2)
    low_s, high_s = (np.take_along_axis(reached_s, piece[..., None] + step, axis=-1)[..., 0] for step in (0, 1))
    tokens = KNOTS[piece] * (1.0 + (limit_s - low_s) / (high_s - low_s))
    return np.asarray(tokens / tokens_per_sequence)


def iteration_energy_j(
    gpu: GpuSpec,
    model: ModelSpec,
    profile: ProfileSpec,
    decoding: Number,
    context_tokens: Number,
    prefill_tokens: Number,
    pairs: Number,
    clock_fraction: Number,
) -> Number:
    """What all boards of a replica draw in an iteration, by the module's equation [J].

    Args:
        gpu: the board.
        model: the model.
        profile: the coefficients of this pair.
        decoding: B, sequences that decode.
        context_tokens: C, their context [tokens].
        prefill_tokens: P [tokens].
        pairs: A, (query, key) pairs of prefill attention.
        clock_fraction: F in (0, 1].

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> h100, llama = gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b")
    >>> profile = llm.load_profile("llama-3.1-8b", "h100-sxm", 1)
    >>> tau_s = iteration_time_s(profile, 32.0, 32 * 590.0, 0.0, 0.0, 1.0)
    >>> round(iteration_energy_j(h100, llama, profile, 32.0, 32 * 590.0, 0.0, 0.0, 1.0) / tau_s)
    561
    """
    tau_s = iteration_time_s(profile, decoding, context_tokens, prefill_tokens, pairs, clock_fraction)
    work, boards = work_energy(gpu, model, profile), profile.tensor_parallel
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    tokens = decoding + prefill_tokens
    moved_j = byte_energy_scale(gpu.core_byte_fraction, voltage) * at_tokens(np.array(work.work_j), tokens)
    moved_j = moved_j + byte_energy_scale(gpu.core_context_fraction, voltage) * work.context_j * context_tokens
    arithmetic_j = work.token_j * tokens + work.attention_j * pairs
    work_j = moved_j + voltage * voltage * arithmetic_j
    board_w = drawn_w(gpu, profile.power_factor * work_j / (boards * tau_s), clock_fraction)
    return boards * board_w * tau_s


def physical_bound_s(
    gpu: GpuSpec,
    model: ModelSpec,
    tensor_parallel: int,
    decoding: Number,
    context_tokens: Number,
    prefill_tokens: Number,
    prefill_pairs: Number,
) -> Number:
    """No iteration can be faster: max(FLOPs / peak rate, bytes / peak bandwidth), at full clock [s].

    Args:
        gpu: the board.
        model: the model.
        tensor_parallel: GPUs per replica.
        decoding: B, sequences that decode.
        context_tokens: C, their context [tokens].
        prefill_tokens: P [tokens].
        prefill_pairs: A, (query, key) pairs.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> h100, llama = gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b")
    >>> round(1e3 * physical_bound_s(h100, llama, 1, 0.0, 0.0, 4096.0, 0.0), 1)
    62.1
    """
    tokens = decoding + prefill_tokens
    flops = model.flops_per_token * tokens + model.attention_flops_per_pair * (prefill_pairs + context_tokens)
    read_bytes = at_tokens(model.weight_bytes_read(KNOTS), tokens)
    context_bytes = model.kv_copies(tensor_parallel) * context_tokens + tokens
    moved_bytes = read_bytes + model.kv_bytes_per_token * context_bytes
    compute_s = flops / (tensor_parallel * gpu.peak_flops(model.arithmetic))
    memory_s = moved_bytes / (tensor_parallel * gpu.memory_bandwidth_bytes_per_s)
    return _larger(compute_s, memory_s)


def _larger(first: Number, second: Number) -> Number:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.maximum(first, second)
    return max(first, second)
