"""Layer 4, rooflines: a profile for an unmeasured pair, the sum of parts that others timed.

| part of an iteration | by | comes from |
|---|---|---|
| products of matrices | tokens | `products`: bytes, FLOPs, launches, at what a board's kernels reach |
| routed experts | tokens | `experts`: bytes and FLOPs of the experts that tokens touch on the busiest board |
| element-wise layers | tokens | their bytes |
| all-reduces, tokens sent to experts | tokens | `collectives`: latency and bytes over the boards' interconnect |
| attention | context, pairs | bytes and FLOPs at what kernels reach; `latent_attention` of a compressed cache |
| logits | sequences | `collectives`: an all-gather |
| what serving adds | iterations, layers, sequences | the constants below |

With all other parts known, `calibration/fit/time/serving_costs.py` fits the last to vLLM's runs of dense models on H100
and B200, and `mixtures.py` fits it to runs of mixtures of experts. Both predict each model that is left out.
"""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec, InterconnectSpec
from tokenfleet.envs.layers.llm.collectives import all_reduces_s, dispatch_s, logits_s, stage_s
from tokenfleet.envs.layers.llm.experts import experts_part
from tokenfleet.envs.layers.llm.latent_attention import KERNEL, decode_context_s, extra_launch_s
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.part import Float64Array, Part, together
from tokenfleet.envs.layers.llm.products import elementwise_part, products_part
from tokenfleet.envs.layers.llm.profile import TOKEN_KNOTS, ProfileSpec, bounds_s, profile_name
from tokenfleet.envs.layers.llm.unlimited import without_limit

# `calibration/fit/time/serving_costs.py`; a test holds them to it.
BASE_S = 3.93e-4
LAYER_S = 3.59e-5
SEQUENCE_S = 4.93e-5
KERNEL_SEQUENCE_S = 7.64e-6  # kernels alone: logits, sampling, attention's part for each sequence
# `calibration/fit/time/mixtures.py`; a test holds them to it.
EXPERT_LAYER_S = -2.198e-6  # beside the fused kernel's own launch
DISPATCH_LAYER_S = 1.633e-5  # where tokens go to other boards' experts, beside collectives
FP8_LAYER_S = 8.296e-5  # of a mixture in fp8, beside kernels


def roofline_profile(
    gpu: GpuSpec,
    model: ModelSpec,
    parallelism: Parallelism | int,
    interconnect: InterconnectSpec,
    async_scheduling: bool = False,
) -> ProfileSpec:
    """A profile for a pair that nobody measured.

    Args:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it; a number is tensor parallelism alone.
        interconnect: how they are wired.
        async_scheduling: the server plans an iteration while the one before it runs, so that only kernels count
            (simplified: a batch never waits for its plan).

    Raises:
        SpecError: the model cannot be shared so.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> parts = gpu.load_gpu("b200-sxm"), llm.load_model("llama-3.1-70b"), 8, gpu.load_interconnect("nvlink-5")
    >>> roofline_profile(*parts).origin
    'roofline'
    """
    shared = Parallelism.of(parallelism)
    shared.check(model.name, model.attention_heads, model.experts, model.layers)
    least, latent = bounds_s(gpu, model, shared), model.latent_values is not None
    whole = pipeline_part(gpu, model, shared, interconnect, np.array(TOKEN_KNOTS, dtype=np.float64))
    pair_ratio = KERNEL.prefill_ratio if latent else gpu.kernels.prefill_attention_ratio
    latent_s = decode_context_s(gpu, model, shared) / shared.pipeline if latent else 0.0
    sequence_s = KERNEL_SEQUENCE_S if async_scheduling else SEQUENCE_S
    measured = ProfileSpec(
        name=profile_name(model.name, gpu.name, shared),
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=shared.tensor,
        data_parallel=shared.data,
        expert_parallel=shared.expert,
        pipeline_parallel=shared.pipeline,
        host_s=host_s(model, shared, async_scheduling) + extra_launch_s(gpu, model),
        token_s=tuple(np.maximum.accumulate(np.maximum(whole.time_s, least.token_s)).tolist()),
        token_memory_share=tuple(np.clip(whole.memory_share, 0.0, 1.0).tolist()),
        decode_s=sequence_s + logits_s(model, interconnect, shared.tensor),
        context_s=latent_s if latent else least.context_s * gpu.kernels.context_ratio,
        mixed_context_s=0.0 if latent else least.context_s * gpu.kernels.mixed_context_ratio,
        prefill_attention_s=least.prefill_attention_s * pair_ratio,
        origin="roofline",
        sources=(
            "assumption: sum of parts that others timed on these boards or others, and what serving adds to others",
        ),
    )
    return without_limit(measured, gpu, model)


def pipeline_part(
    gpu: GpuSpec, model: ModelSpec, shared: Parallelism, interconnect: InterconnectSpec, tokens: Float64Array
) -> Part:
    """`token_part` of a pipeline of S stages, `[J]`: a batch is cut into S parts, and every stage works on another one.

    Until each sequence has its token, S parts pass each stage, each in a stage's share of what a part takes. Fewer than
    S tokens leave stages idle. Prompts are cut likewise: vLLM sends the next chunk of a prompt after the one before.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> parts = gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-70b")
    >>> link, tokens = gpu.load_interconnect("nvlink-4"), np.array([1.0, 2.0, 4096.0])
    >>> staged = pipeline_part(*parts, Parallelism(2, pipeline=2), link, tokens).time_s
    >>> (staged / pipeline_part(*parts, Parallelism(2), link, tokens).time_s).round(2).tolist()
    [1.0, 1.0, 0.5]
    """
    if shared.pipeline == 1:
        return token_part(gpu, model, shared, interconnect, tokens)
    part = np.maximum(tokens / shared.pipeline, 1.0)
    sent_s = shared.pipeline * stage_s(model, interconnect, shared, part)
    return together([token_part(gpu, model, shared.stage, interconnect, part), Part(sent_s, np.ones_like(sent_s))])


def token_part(
    gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism | int, interconnect: InterconnectSpec, tokens: Float64Array
) -> Part:
    """All of an iteration that goes by its tokens, `[J]`; groups of boards have equal shares of them."""
    shared = Parallelism.of(parallelism)
    mine = tokens / shared.data
    collectives_s = all_reduces_s(model, interconnect, shared.tensor, mine)
    collectives_s = collectives_s + dispatch_s(model, interconnect, shared, tokens)
    return together(
        [
            products_part(gpu, model, shared.tensor, mine),
            experts_part(gpu, model, shared, tokens),
            elementwise_part(gpu, model, shared.tensor, mine),
            Part(collectives_s, np.ones_like(collectives_s)),
        ]
    )


def host_s(model: ModelSpec, parallelism: Parallelism, async_scheduling: bool = False) -> float:
    """Fixed time of an iteration: planning, unless it is done ahead, and small kernels [s].

    >>> from tokenfleet.envs.layers import llm
    >>> [round(1e3 * host_s(llm.load_model("llama-3.1-8b"), Parallelism(), ahead), 2) for ahead in (False, True)]
    [1.54, 1.15]
    """
    always_s = (0.0 if async_scheduling else BASE_S) + model.layers * LAYER_S
    if model.experts == 1:
        return always_s
    dispatch_layer_s = DISPATCH_LAYER_S if parallelism.data > 1 else 0.0
    fp8_layer_s = FP8_LAYER_S if model.arithmetic == "fp8" else 0.0
    return always_s + model.routed_layers * (EXPERT_LAYER_S + dispatch_layer_s + fp8_layer_s)
