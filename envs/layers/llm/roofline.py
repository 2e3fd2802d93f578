"""Layer 4, rooflines: a profile for a pair that nobody measured, from peaks and typical efficiencies.

An iteration's products are bound by memory where they are few and by arithmetic where they are many; in between both
count, so their times, each over its efficiency, are joined by a fourth-power mean, as measured kernels show.
"""

from __future__ import annotations

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.profile import ProfileSpec, bounds_s, memory_and_compute_s, profile_name
from tokenfleet.envs.spec import SpecError

# Typical shares of peak that measured profiles reach, and what serving adds; `python -m calibration.fit` prints them.
MEMORY_EFFICIENCY = 0.75
COMPUTE_EFFICIENCY = 0.66
CONTEXT_RATIO = 1.15
PREFILL_ATTENTION_RATIO = 1.94
HOST_S = 1.5e-3
DECODE_S = 5e-5
JOIN_POWER = 4.0


def roofline_profile(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int) -> ProfileSpec:
    """A profile for a pair that nobody measured: the physical bound over typical efficiencies of measured profiles.

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
    memory = (memory_s / MEMORY_EFFICIENCY) ** JOIN_POWER
    both = memory + (compute_s / COMPUTE_EFFICIENCY) ** JOIN_POWER
    return ProfileSpec(
        name=profile_name(model.name, gpu.name, tensor_parallel),
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=tensor_parallel,
        host_s=HOST_S,
        token_s=tuple((both ** (1.0 / JOIN_POWER)).tolist()),
        token_memory_share=tuple((memory / both).tolist()),
        decode_s=DECODE_S,
        context_s=least.context_s * CONTEXT_RATIO,
        prefill_attention_s=least.prefill_attention_s * PREFILL_ATTENTION_RATIO,
        origin="roofline",
        sources=("assumption: physical bound over typical efficiencies of measured profiles",),
    )
