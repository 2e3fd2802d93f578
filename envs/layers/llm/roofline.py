"""Layer 4, rooflines: a profile for a pair that nobody measured, from peaks and typical efficiencies.

An iteration's products are bound by memory where they are few and by arithmetic where they are many; in between both
count, so their times, each over its efficiency, are joined by a fourth-power mean, as measured kernels show. Routed
experts are a part of their own (`experts`), and so is attention over a compressed cache (`latent_attention`). On top comes what an iteration takes whatever it computes: so much a layer
(launches, norms, attention's start), less of it where a fused kernel of experts, which has a launch of its own, stands
in for a feed-forward layer, more where activations are made fp8, more where boards must agree after each layer or send
tokens to one another's experts; and so much for each sequence (sampling, its page table).
`calibration/fit/time/serving_law.py` and `mixtures.py` fit those to models on H100 and B200, and predict each model
that is left out.
"""

from __future__ import annotations

import math

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.experts import experts_part
from tokenfleet.envs.layers.llm.latent_attention import KERNEL, decode_context_s, extra_launch_s
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.part import Float64Array, Part, joined_part, together
from tokenfleet.envs.layers.llm.profile import TOKEN_KNOTS, ProfileSpec, bounds_s, profile_name

# The law of `calibration/fit/time/serving_law.py`; a test holds them to it.
MEMORY_EFFICIENCY = 0.940
BASE_S = 3.71e-4
LAYER_S = 6.06e-5
COLLECTIVE_LAYER_S = 2.05e-5  # for each doubling of the boards
SEQUENCE_S = 5.82e-5
# The costs of `calibration/fit/time/mixtures.py`; a test holds them to it.
EXPERT_LAYER_S = -5.01e-5  # beside the fused kernel's own launch, in place of a feed-forward layer's
DISPATCH_LAYER_S = 3.47e-5  # for each doubling of the groups whose tokens go to one another's experts
FP8_LAYER_S = 3.26e-5
# Typical shares of peak that measured kernels reach (`calibration/fit/time`), and of attention over its bound.
COMPUTE_EFFICIENCY = 0.66
CONTEXT_RATIO = 1.15
PREFILL_ATTENTION_RATIO = 1.94


def roofline_profile(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism | int) -> ProfileSpec:
    """A profile for a pair that nobody measured: the physical bound over typical efficiencies, and what serving adds.

    Args:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it; a number is tensor parallelism alone.

    Raises:
        SpecError: the model cannot be shared so.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> roofline_profile(gpu.load_gpu("b200-sxm"), llm.load_model("llama-3.1-70b"), 8).origin
    'roofline'
    """
    shared = Parallelism.of(parallelism)
    shared.check(model.name, model.attention_heads, model.experts)
    least, whole = bounds_s(gpu, model, shared), token_part(gpu, model, shared)
    latent = model.latent_values is not None
    return ProfileSpec(
        name=profile_name(model.name, gpu.name, shared),
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=shared.tensor,
        data_parallel=shared.data,
        expert_parallel=shared.expert,
        host_s=host_s(model, shared) + extra_launch_s(gpu, model),
        token_s=tuple(np.maximum.accumulate(np.maximum(whole.time_s, least.token_s)).tolist()),
        token_memory_share=tuple(np.clip(whole.memory_share, 0.0, 1.0).tolist()),
        decode_s=SEQUENCE_S,
        context_s=decode_context_s(gpu, model, shared) if latent else least.context_s * CONTEXT_RATIO,
        prefill_attention_s=least.prefill_attention_s * (KERNEL.prefill_ratio if latent else PREFILL_ATTENTION_RATIO),
        origin="roofline",
        sources=("assumption: physical bound over typical efficiencies of kernels, and what serving adds to others",),
    )


def token_part(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism) -> Part:
    """All of an iteration that goes by its tokens, at the knots, `[J]`."""
    tokens = np.array(TOKEN_KNOTS, dtype=np.float64)
    return together([common_part(gpu, model, parallelism, tokens), experts_part(gpu, model, parallelism, tokens)])


def common_part(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism, tokens: Float64Array) -> Part:
    """Products that every token goes through, and the cache that it writes, on each board."""
    mine = tokens / parallelism.data
    moved_bytes = model.common_parameters * model.bytes_per_parameter + model.kv_bytes_per_token * mine
    flops = 2.0 * model.common_parameters * mine
    memory_s = moved_bytes / (parallelism.tensor * MEMORY_EFFICIENCY * gpu.memory_bandwidth_bytes_per_s)
    return joined_part(memory_s, flops / (parallelism.tensor * COMPUTE_EFFICIENCY * gpu.peak_flops(model.arithmetic)))


def host_s(model: ModelSpec, parallelism: Parallelism) -> float:
    """What an iteration takes whatever it computes [s].

    >>> from tokenfleet.envs.layers import llm
    >>> models = [llm.load_model(name) for name in ("llama-3.1-8b", "llama-3.1-405b-fp8")]
    >>> [round(1e3 * host_s(model, Parallelism(8)), 2) for model in models]
    [4.28, 19.86]
    """
    layer_s = LAYER_S + COLLECTIVE_LAYER_S * math.log2(parallelism.tensor)
    layer_s += FP8_LAYER_S if model.arithmetic == "fp8" else 0.0
    expert_layer_s = EXPERT_LAYER_S + DISPATCH_LAYER_S * math.log2(parallelism.data)
    return BASE_S + model.layers * layer_s + (model.routed_layers * expert_layer_s if model.experts > 1 else 0.0)
