"""Layer 4, rooflines: a profile for a pair that nobody measured, the sum of parts that others timed.

| part of an iteration | by | comes from |
|---|---|---|
| products of matrices | tokens | `products`: bytes, FLOPs, launches, at what a board's kernels reach |
| routed experts | tokens | bytes and FLOPs of the experts that tokens touch |
| element-wise layers | tokens | their bytes |
| all-reduces | tokens | `collectives`: latency and bytes over the boards' interconnect |
| attention | context, pairs | bytes and FLOPs at what kernels reach |
| logits | sequences | `collectives`: an all-gather |
| what serving adds | iterations, layers, sequences | the constants below |

`calibration/fit/time/serving_costs.py` fits the last to vLLM's runs of dense models on H100 and B200, all other parts
being known, and predicts each model that is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import GpuSpec, InterconnectSpec
from tokenfleet.envs.layers.llm.collectives import all_reduces_s, logits_s
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.products import Part, elementwise_part, products_part, together
from tokenfleet.envs.layers.llm.profile import TOKEN_KNOTS, ProfileSpec, bounds_s, profile_name
from tokenfleet.envs.spec import SpecError

# `calibration/fit/time/serving_costs.py`; a test holds them to it.
BASE_S = 3.93e-4
LAYER_S = 3.59e-5
EXPERT_LAYER_S = 3.64e-5
KERNEL_SEQUENCE_S = 7.64e-6  # kernels alone: logits, sampling, attention's part for each sequence
SEQUENCE_S = 4.93e-5
# Of the older law of mixtures (`calibration/fit/time/serving_law.py`).
COMPUTE_EFFICIENCY = 0.66
CONTEXT_RATIO = 1.15
PREFILL_ATTENTION_RATIO = 1.94
MEMORY_EFFICIENCY = 0.94
JOIN_POWER = 4.0
Float64Array = NDArray[np.float64]


def roofline_profile(
    gpu: GpuSpec,
    model: ModelSpec,
    tensor_parallel: int,
    interconnect: InterconnectSpec,
    async_scheduling: bool = False,
) -> ProfileSpec:
    """A profile for a pair that nobody measured.

    Args:
        gpu: the board.
        model: the model.
        tensor_parallel: GPUs per replica; must divide the attention heads.
        interconnect: how they are wired.
        async_scheduling: the server plans an iteration while the one before it runs, so that only kernels count
            (simplified: a batch that takes longer to plan than to run does not wait).

    Raises:
        SpecError: the heads cannot be split over that many GPUs.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> parts = gpu.load_gpu("b200-sxm"), llm.load_model("llama-3.1-70b"), 8, gpu.load_interconnect("nvlink-5")
    >>> roofline_profile(*parts).origin
    'roofline'
    """
    if tensor_parallel < 1 or model.attention_heads % tensor_parallel:
        heads = model.attention_heads
        raise SpecError([f"tensor_parallel: must divide {model.name}'s {heads} heads (got {tensor_parallel})"])
    least = bounds_s(gpu, model, tensor_parallel)
    sequence_s = KERNEL_SEQUENCE_S if async_scheduling else SEQUENCE_S
    tokens = np.array(TOKEN_KNOTS, dtype=np.float64)
    whole = token_part(gpu, model, tensor_parallel, interconnect, tokens)
    return ProfileSpec(
        name=profile_name(model.name, gpu.name, tensor_parallel),
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=tensor_parallel,
        host_s=host_s(model, async_scheduling),
        token_s=tuple(np.maximum.accumulate(np.maximum(whole.time_s, least.token_s)).tolist()),
        token_memory_share=tuple(np.clip(whole.memory_share, 0.0, 1.0).tolist()),
        decode_s=sequence_s + logits_s(model, interconnect, tensor_parallel),
        context_s=least.context_s * gpu.kernels.context_ratio,
        mixed_context_s=least.context_s * gpu.kernels.mixed_context_ratio,
        prefill_attention_s=least.prefill_attention_s * gpu.kernels.prefill_attention_ratio,
        origin="roofline",
        sources=(
            "assumption: sum of parts that others timed on these boards or others, and what serving adds to others",
        ),
    )


def token_part(
    gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, interconnect: InterconnectSpec, tokens: Float64Array
) -> Part:
    """All of an iteration that goes by its tokens, `[J]`."""
    collectives_s = all_reduces_s(model, interconnect, tensor_parallel, tokens)
    return together(
        [
            products_part(gpu, model, tensor_parallel, tokens),
            experts_part(gpu, model, tensor_parallel, tokens),
            elementwise_part(gpu, model, tensor_parallel, tokens),
            Part(collectives_s, np.ones_like(collectives_s)),
        ]
    )


def experts_part(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, tokens: Float64Array) -> Part:
    """Routed experts, split over the boards as every matrix is; nothing in a dense model."""
    memory_s = model.expert_bytes_read(tokens) / (tensor_parallel * gpu.memory_bandwidth_bytes_per_s)
    compute_s = model.expert_flops_per_token * tokens / (tensor_parallel * gpu.peak_flops(model.arithmetic))
    memory_s, compute_s = memory_s / MEMORY_EFFICIENCY, compute_s / COMPUTE_EFFICIENCY
    if not model.expert_parameters:
        return Part(np.zeros_like(tokens), np.ones_like(tokens))
    return Part(joined_s(memory_s, compute_s), memory_share(memory_s, compute_s))


def joined_s(memory_s: Float64Array, compute_s: Float64Array) -> Float64Array:
    """Time of products that are bound by memory and by arithmetic, the fourth-power mean of both, `[...]` [s].

    >>> round(float(joined_s(np.array(3.0), np.array(3.0))), 3), round(float(joined_s(np.array(3.0), np.array(1.0))), 3)
    (3.568, 3.009)
    """
    return np.asarray((memory_s**JOIN_POWER + compute_s**JOIN_POWER) ** (1.0 / JOIN_POWER))


def memory_share(memory_s: Float64Array, compute_s: Float64Array) -> Float64Array:
    """Share of the joined time that is bound by memory, `[...]`.

    >>> float(memory_share(np.array(3.0), np.array(3.0)))
    0.5
    """
    return np.asarray(memory_s**JOIN_POWER / (memory_s**JOIN_POWER + compute_s**JOIN_POWER))


def host_s(model: ModelSpec, async_scheduling: bool = False) -> float:
    """What an iteration takes whatever it computes: planning, unless that is done before, and small kernels [s].

    >>> from tokenfleet.envs.layers import llm
    >>> [round(1e3 * host_s(llm.load_model("llama-3.1-8b"), ahead), 2) for ahead in (False, True)]
    [1.54, 1.15]
    """
    layer_s = LAYER_S + (EXPERT_LAYER_S if model.experts > 1 else 0.0)
    return (0.0 if async_scheduling else BASE_S) + model.layers * layer_s
