"""Layer 4, rooflines: a profile for a pair that nobody measured, from peaks and typical efficiencies.

An iteration's products are bound by memory where they are few and by arithmetic where they are many; in between both
count, so their times, each over its efficiency, are joined by a fourth-power mean, as measured kernels show. On top
comes what an iteration takes whatever it computes: so much a layer (launches, norms, attention's start), more in a
mixture of experts, more where boards must agree after each layer; and so much for each sequence (sampling, its page
table). `calibration/fit/time/serving_law.py` fits those to twelve models on H100 and B200, and predicts each model that
is left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.profile import ProfileSpec, bounds_s, memory_and_compute_s, profile_name
from tokenfleet.envs.layers.llm.unlimited import without_limit
from tokenfleet.envs.spec import SpecError

# The law of `calibration/fit/time/serving_law.py`; a test holds them to it.
MEMORY_EFFICIENCY = 0.940
BASE_S = 3.71e-4
LAYER_S = 6.06e-5
EXPERT_LAYER_S = 7.79e-6
COLLECTIVE_LAYER_S = 2.05e-5  # for each doubling of the boards
SEQUENCE_S = 5.82e-5
# Typical shares of peak that measured kernels reach (`calibration/fit/time`), and of attention over its bound.
COMPUTE_EFFICIENCY = 0.66
CONTEXT_RATIO = 1.15
PREFILL_ATTENTION_RATIO = 1.94
JOIN_POWER = 4.0
Float64Array = NDArray[np.float64]


def roofline_profile(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int) -> ProfileSpec:
    """A profile for a pair that nobody measured: the physical bound over typical efficiencies, and what serving adds.

    Args:
        gpu: the board.
        model: the model.
        tensor_parallel: GPUs per replica; must divide the attention heads.

    Raises:
        SpecError: the heads cannot be split over that many GPUs.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> roofline_profile(gpu.load_gpu("b200-sxm"), llm.load_model("llama-3.1-70b"), 8).origin
    'roofline'
    """
    if tensor_parallel < 1 or model.attention_heads % tensor_parallel:
        heads = model.attention_heads
        raise SpecError([f"tensor_parallel: must divide {model.name}'s {heads} heads (got {tensor_parallel})"])
    least = bounds_s(gpu, model, tensor_parallel)
    memory_s, compute_s = memory_and_compute_s(gpu, model, tensor_parallel)
    memory_s, compute_s = memory_s / MEMORY_EFFICIENCY, compute_s / COMPUTE_EFFICIENCY
    measured = ProfileSpec(
        name=profile_name(model.name, gpu.name, tensor_parallel),
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=tensor_parallel,
        host_s=host_s(model, tensor_parallel),
        token_s=tuple(joined_s(memory_s, compute_s).tolist()),
        token_memory_share=tuple(memory_share(memory_s, compute_s).tolist()),
        decode_s=SEQUENCE_S,
        context_s=least.context_s * CONTEXT_RATIO,
        prefill_attention_s=least.prefill_attention_s * PREFILL_ATTENTION_RATIO,
        origin="roofline",
        sources=("assumption: physical bound over typical efficiencies of kernels, and what serving adds to others",),
    )
    return without_limit(measured, gpu, model)


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


def host_s(model: ModelSpec, tensor_parallel: int) -> float:
    """What an iteration takes whatever it computes [s].

    >>> from tokenfleet.envs.layers import llm
    >>> [round(1e3 * host_s(llm.load_model(name), 8), 2) for name in ("llama-3.1-8b", "gpt-oss-120b")]
    [4.28, 5.05]
    """
    layer_s = LAYER_S + COLLECTIVE_LAYER_S * math.log2(tensor_parallel)
    return BASE_S + model.layers * (layer_s + (EXPERT_LAYER_S if model.experts > 1 else 0.0))
