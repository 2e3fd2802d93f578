"""Layer 4, multi-head latent attention (the DeepSeek family): all heads share one compressed cache.

Decoding multiplies each head's query, taken into the compressed space, with the cached values themselves, so a layer on
a board with h heads takes for each token of context

    ((bytes / (memory_efficiency bandwidth))^4 + (2 h (values + latent) / (compute_efficiency peak))^4)^(1/4)

and every board that shares the heads reads the whole cache. Prefill expands the cache into keys and values of every
head, and takes a multiple of its FLOPs at peak rate. A layer starts more kernels than one of ordinary attention.
`calibration/fit/time/latent_attention.py` fits these numbers to measured modules of DeepSeek-V3.

References:
    DeepSeek-AI, "DeepSeek-V2", 2024, arXiv:2405.04434, section 2.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.part import Float64Array, joined_s


class LatentKernel(NamedTuple):
    """How near kernels of latent attention come to a board's peaks.

    Attributes:
        memory_efficiency: share of peak bandwidth that the cache is read at.
        compute_efficiency: share of the peak rate in bf16, of decoding.
        prefill_ratio: time of prefill over its FLOPs at peak rate.
    """

    memory_efficiency: float
    compute_efficiency: float
    prefill_ratio: float

    def decode_s(self, memory_s: Float64Array, compute_s: Float64Array) -> Float64Array:
        """Time of decoding, from its bytes over peak bandwidth and its FLOPs over peak rate, `[...]` [s]."""
        return joined_s(memory_s / self.memory_efficiency, compute_s / self.compute_efficiency)


KERNEL = LatentKernel(0.8199, 0.7336, 1.061)
"""Fitted to H100, H200 and B200; a test holds it to that."""
ORDINARY_LAUNCH_S = 1.0e-5
"""What ordinary attention's kernels take to start, beside products; assumption, from their shortest timings."""


def decode_context_s(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism) -> float:
    """Time of each token of context of a replica's decoding sequences, all layers [s].

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> h200, model = gpu.load_gpu("h200-sxm"), llm.load_model("deepseek-v3")
    >>> ratio = decode_context_s(h200, model, Parallelism(8)) / decode_context_s(h200, model, Parallelism(1, 8, 8))
    >>> 4.0 < ratio < 8.0  # eight boards read one cache each, or all of them the same
    True
    """
    memory_s = model.kv_bytes_per_token / gpu.memory_bandwidth_bytes_per_s
    heads = model.attention_heads / parallelism.tensor
    compute_s = model.layers * latent_flops(model, heads) / gpu.peak_bf16_flops
    return float(KERNEL.decode_s(np.asarray(memory_s), np.asarray(compute_s))) / parallelism.data


def latent_flops(model: ModelSpec, heads: float) -> float:
    """Arithmetic of one token of context in one layer, by so many heads [FLOP]."""
    return 2.0 * heads * ((model.kv_values_per_head or 0) + (model.latent_values or 0))


def extra_launch_s(gpu: GpuSpec, model: ModelSpec) -> float:
    """What all layers' kernels take to start, beyond those of ordinary attention [s]; none without a latent cache.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> extra_launch_s(gpu.load_gpu("h200-sxm"), llm.load_model("llama-3.1-8b"))
    0.0
    """
    return model.layers * (gpu.kernels.latent_launch_s - ORDINARY_LAUNCH_S) if model.latent_values else 0.0
