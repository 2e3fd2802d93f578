"""Layer 4, one iteration of a serving replica: its time, its energy, and the least time that physics allows.

An iteration that decodes B sequences whose context (prompt and tokens generated so far) totals C tokens, and prefills P
prompt tokens with A attention pairs, takes at clock fraction F

    tau = (t0_s + decode_s B + context_s C) phi(F, m_decode) + (prefill_s P + prefill_attention_s A) phi(F, m_prefill)

and all boards of the replica together draw, by the law of `layers.gpu` with awake = tp (static_w + floor_w F V^2),

    work   = M weight_j + M_context context_j C + V^2 (token_j (B + P) + attention_j A)
    energy = min( awake tau + work,  shoulder tau + shoulder_slope work,  tp limit_fraction tdp_w tau ),

with awake and work times the profile's power_factor.

A = sum over prefill chunks of `chunk * prior + chunk (chunk + 1) / 2`, a whole number. The FLOPs of decode attention
are not counted apart: they go with C as the bytes of the KV cache do, and joule_per_context_byte holds them.

In a mixed iteration the weights are read while the prefill computes; the affine form adds the two, so short prefills
come out up to 21 % long (profile's `fit_errors.prefill`).

References:
    A. Agrawal et al., "Vidur: A Large-Scale Simulation Framework for LLM Inference", MLSys 2024, arXiv:2405.05465.
    P. Patel et al., "Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024, arXiv:2311.18677.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec, Number, byte_energy_scale, clock_stretch, drawn_w, voltage_fraction
from tokenfleet.envs.layers.llm import ModelSpec, ProfileSpec


@dataclass(frozen=True)
class WorkEnergy:
    """Energy of work at full voltage, all boards of a replica together; what an engine precomputes.

    Attributes:
        weight_j: reading the weights once, for each iteration [J]; times M.
        context_j: reading one token of KV cache [J]; times M_context.
        token_j: the arithmetic of one token, decoded or prefilled [J]; times V^2.
        attention_j: the arithmetic of one (query, key) pair of prefill attention [J]; times V^2.
    """

    weight_j: float
    context_j: float
    token_j: float
    attention_j: float


def work_energy(gpu: GpuSpec, model: ModelSpec) -> WorkEnergy:
    """The energy coefficients of a model on a GPU; they do not depend on how many GPUs share the work.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> round(work_energy(gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b")).weight_j, 2)
    1.91
    """
    return WorkEnergy(
        weight_j=gpu.joule_per_byte * model.weight_bytes_read,
        context_j=gpu.joule_per_context_byte * model.kv_bytes_per_token,
        token_j=gpu.joule_per_flop * model.flops_per_token,
        attention_j=gpu.joule_per_flop * model.attention_flops_per_pair,
    )


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
    decode_s = profile.t0_s + profile.decode_s * decoding + profile.context_s * context_tokens
    prefill_s = profile.prefill_s * prefill_tokens + profile.prefill_attention_s * pairs
    return decode_s * clock_stretch(clock_fraction, profile.decode_memory_fraction) + prefill_s * clock_stretch(
        clock_fraction, profile.prefill_memory_fraction
    )


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
    515
    """
    tau_s = iteration_time_s(profile, decoding, context_tokens, prefill_tokens, pairs, clock_fraction)
    work, boards = work_energy(gpu, model), profile.tensor_parallel
    voltage = voltage_fraction(clock_fraction, gpu.voltage_floor_fraction)
    moved_j = byte_energy_scale(gpu.core_byte_fraction, voltage) * work.weight_j
    moved_j = moved_j + byte_energy_scale(gpu.core_context_fraction, voltage) * work.context_j * context_tokens
    arithmetic_j = work.token_j * (decoding + prefill_tokens) + work.attention_j * pairs
    work_j = moved_j + voltage * voltage * arithmetic_j
    board_w = drawn_w(gpu, work_j / (boards * tau_s), clock_fraction, profile.power_factor)
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
    moved_bytes = model.weight_bytes_read + model.kv_bytes_per_token * (context_tokens + tokens)
    compute_s = flops / (tensor_parallel * gpu.peak_bf16_flops)
    memory_s = moved_bytes / (tensor_parallel * gpu.memory_bandwidth_bytes_per_s)
    return _larger(compute_s, memory_s)


def _larger(first: Number, second: Number) -> Number:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.maximum(first, second)
    return max(first, second)
