"""The time of one iteration as a sum of measured kernels.

Matrix products and attention are measured (aiconfigurator, in vLLM's own kernels, in long loops at sustained power).
The H100 has no such table: it computes like the H200 (same chip, same power limit), so compute-bound kernels are the
H200's, and what is bound by memory is stretched by the ratio of the two bandwidths. Element-wise layers and all-reduce
are bytes over a measured effective rate.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.time.time_fit import prompt_errors
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.knots import never_falling
from tokenfleet.envs.fitting.least_squares import factors
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, ModelSpec, bounds_s, load_model
from tokenfleet.envs.layers.llm.iteration import prefill_pairs
from tokenfleet.envs.layers.llm.part import memory_share
from tokenfleet.envs.layers.llm.profile import memory_and_compute_s

MEASURED_ON = {"h100-sxm": "h200-sxm"}  # every other GPU has tables of its own
# (query + key + value outputs, feed-forward width) of the Llama 3.1 shapes, from their config.json.
WIDTHS = {"llama-3.1-8b": (6144, 14336), "llama-3.1-70b": (10240, 28672)}
VOCABULARY = 128256
# LLMServingSim, H100, silu of Llama 3.1 8B at 2048 tokens: 98 us for 176 MB, 54 % of peak bandwidth.
ELEMENTWISE_EFFICIENCY = 0.54
# NVLink rate per direction [bytes/s], from the vendor's data sheets; times ALL_REDUCE_EFFICIENCY, measured on the A100.
NVLINK_BYTES_PER_S = {"a100-sxm-80gb": 300e9, "h100-sxm": 450e9, "h200-sxm": 450e9, "b200-sxm": 900e9}
PROMPTS = (512, 1024, 2048, 4096, 8192)


@cache
def all_reduce_efficiency() -> float:
    """Share of the NVLink rate that a large all-reduce reaches on 8 A100 (Vidur): ring traffic over time, slope."""
    rows = table("all_reduce")
    slope_ms, _ = np.polyfit(rows.bytes, rows.time_ms, 1)
    return float(2 * 7 / 8 / (slope_ms * 1e-3) / NVLINK_BYTES_PER_S["a100-sxm-80gb"])


class Kernels:
    """Kernel times of one model on one GPU at one tensor-parallel degree."""

    def __init__(self, model: str, gpu: str, tensor_parallel: int) -> None:
        self.model: ModelSpec = load_model(model)
        self.gpu: GpuSpec = load_gpu(gpu)
        self.tp = tensor_parallel
        self.source = MEASURED_ON.get(gpu, gpu)
        source_bandwidth = load_gpu(self.source).memory_bandwidth_bytes_per_s
        self.memory_stretch = source_bandwidth / self.gpu.memory_bandwidth_bytes_per_s
        self.width = self.model.attention_heads * self.model.head_dim
        self.qkv, self.feed_forward = WIDTHS[model]

    def products_s(self, tokens: int) -> float:
        """All matrix products of an iteration over `tokens` tokens; the vocabulary's only for up to 256 of them [s]."""
        tp, width = self.tp, self.width
        shapes = [(self.qkv // tp, width), (width, width // tp)]
        shapes += [(2 * self.feed_forward // tp, width), (width, self.feed_forward // tp)]
        layer_s = sum(self.product_s(tokens, n, k) for n, k in shapes)
        return self.model.layers * layer_s + self.product_s(min(tokens, 256), VOCABULARY // tp, width)

    def elementwise_s(self, tokens: int) -> float:
        """Norms, residuals, activation, rotary embedding [s]."""
        values = 8 * self.width + (3 * self.feed_forward + 2 * self.qkv) / self.tp
        moved_bytes = 2 * values * tokens * self.model.layers
        return moved_bytes / (ELEMENTWISE_EFFICIENCY * self.gpu.memory_bandwidth_bytes_per_s)

    def all_reduce_s(self, tokens: int) -> float:
        """Two all-reduces a layer, their traffic only: latency is in t0 [s]."""
        ring_bytes = 2 * (self.tp - 1) / self.tp * 2 * self.width * tokens
        rate = all_reduce_efficiency() * NVLINK_BYTES_PER_S[self.gpu.name]
        return 2 * self.model.layers * ring_bytes / rate

    def tokens_s(self, tokens: int) -> float:
        """Everything but attention [s]."""
        return self.products_s(tokens) + self.elementwise_s(tokens) + self.all_reduce_s(tokens)

    def token_s(self) -> Array:
        """Everything but attention at `TOKEN_KNOTS`, never falling and never below its physical bound [s].

        Between measured sizes, log-log; beyond the largest, in proportion to the tokens.
        """
        measured = sorted({shape[0] for shape in _products(self.source)})
        sums_s = [self.tokens_s(tokens) for tokens in measured]
        inside = np.minimum(TOKEN_KNOTS, measured[-1])
        token_s = np.exp(np.interp(np.log(inside), np.log(measured), np.log(sums_s))) * TOKEN_KNOTS / inside
        least_s = bounds_s(self.gpu, self.model, self.tp).token_s
        return never_falling(token_s, least_s)

    def token_memory_share(self) -> Array:
        """Share of `token_s` that is bound by memory."""
        return bound_share(self.gpu.name, self.model.name, self.tp)

    def decode_attention_s(self) -> tuple[float, float]:
        """Decode attention of all layers: seconds whatever the context, and per token of context."""
        rows = self._attention("generation_attention")
        rows = rows[rows.batch_size >= 8]
        context = rows.batch_size * (rows.step + 1)
        fixed_ms, token_ms = factors([np.ones(len(rows)), context], rows.latency_ms)
        layers_s = self.model.layers * 1e-3
        return fixed_ms * layers_s, token_ms * layers_s * self.memory_stretch

    def prefill_attention_s(self, tokens: int) -> float:
        """Attention of one prompt of `tokens` tokens, all layers [s]."""
        rows = self._attention("context_attention").set_index("isl").latency_ms
        return float(rows[tokens]) * self.model.layers * 1e-3

    def product_s(self, m: int, n: int, k: int) -> float:
        """Between measured shapes, log-linear in time per multiply-add; memory-bound ones stretched [s]."""
        measured = _products(self.source)
        log_unit = 0.0
        for near_k, share_k in _bracket(k, {shape[2] for shape in measured}):
            for near_n, share_n in _bracket(n, {shape[1] for shape in measured if shape[2] == near_k}):
                log_unit += share_n * share_k * np.log(measured[m, near_n, near_k] / (m * near_n * near_k))
        time_s = float(np.exp(log_unit)) * m * n * k * 1e-3
        compute_s = 2 * m * n * k / self.gpu.peak_bf16_flops
        memory_share = max(0.0, 1.0 - compute_s / 0.7 / time_s)
        return time_s * (1.0 + memory_share * (self.memory_stretch - 1.0))

    def _attention(self, name: str) -> pd.DataFrame:
        rows = table(name)
        heads = self.model.attention_heads // self.tp, self.model.kv_heads // self.tp
        same = (rows.num_heads == heads[0]) & (rows.num_key_value_heads == heads[1])
        return rows[same & (rows.gpu == self.source)]


def bound_share(gpu: str, model: str, tensor_parallel: int) -> Array:
    """Share of each knot's time that is bound by memory, by the physical bounds of both."""
    return memory_share(*memory_and_compute_s(load_gpu(gpu), load_model(model), tensor_parallel))


def fit_prefill_attention(kernels: Kernels) -> tuple[float, list[float]]:
    """prefill_attention_s of long prompts, and the relative error of whole prompts that follows from it.

    Attention is that of 4096 tokens and more, because agents' prompts are long and its share grows with length.
    """
    least_s = bounds_s(kernels.gpu, kernels.model, kernels.tp).prefill_attention_s
    long_s = [kernels.prefill_attention_s(tokens) / prefill_pairs(tokens) for tokens in (4096, 8192, 16384)]
    pair_s = max(float(np.mean(long_s)), least_s)
    wanted_s = {tokens: kernels.tokens_s(tokens) + kernels.prefill_attention_s(tokens) for tokens in PROMPTS}
    return pair_s, prompt_errors(kernels.token_s(), pair_s, wanted_s)


@cache
def _products(gpu: str) -> dict[tuple[int, int, int], float]:
    rows = table("gemm")
    rows = rows[rows.gpu == gpu]
    return {(row.m, row.n, row.k): row.latency_ms for row in rows.itertuples()}


def _bracket(value: int, points: set[int]) -> list[tuple[int, float]]:
    """The grid points around a value with their logarithmic weights; beyond the grid, its end."""
    low = max((point for point in points if point <= value), default=min(points))
    high = min((point for point in points if point >= value), default=max(points))
    if low >= high or not low <= value <= high:
        return [(low if value >= low else high, 1.0)]
    share = float(np.log(value / low) / np.log(high / low))
    return [(low, 1.0 - share), (high, share)]
