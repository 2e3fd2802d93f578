"""What kernels reach of each board's peaks: products of matrices by precision, and attention (aiconfigurator).

The RTX 4090 has layers of one model (LLMServingSim) instead, in bf16.

On boards with a large cache the timing loop finds smaller matrices in that cache; a serving engine reads the same
matrices from memory. So the fit uses only matrices beyond the cache, and tiny ones, whose time is all launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.time.llmservingsim import MODEL, fit_bundle
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import GpuSpec, ProductSpec, load_gpu
from tokenfleet.envs.layers.llm import bounds_s, load_model
from tokenfleet.envs.layers.llm.iteration import prefill_pairs

HEAD_DIM = 128
WEIGHT_BYTES = {"bf16": 2.0, "fp8": 1.0}
LARGE_CACHE = {"l40s": 96e6, "rtx-pro-6000-blackwell-server": 128e6}  # second level, data sheets
CACHED = (2e6, 48e6)  # bytes of weights that such a cache keeps from one run of the loop to the next
STREAMED = 256e6  # bytes of KV cache that no cache holds
LONG = 2048  # tokens
ELEMENTWISE = {"layernorm": 2, "act_fn": 1, "rotary_emb": 1}  # how many of each a layer has
BY_LAYER = "rtx-4090"
LAYERS = {"qkv_proj": (6144, 4096), "o_proj": (4096, 4096), "gate_up_proj": (28672, 4096), "down_proj": (4096, 14336)}
"""Rows and columns of the matrices of Llama 3.1 8B, as LLMServingSim timed them inside vLLM."""
START = [0.8, 0.6, 4.0, 2.0]
LOWEST, HIGHEST = [0.2, 0.2, 1.0, 0.7, -1e-9], [1.0, 1.0, 50.0, 12.0]
MOST_QUANTISE_BYTES = {"bf16": 1e-9, "fp8": 60.0}


@cache
def fit_products(gpu: str, precision: str) -> ProductSpec:
    """The four numbers of a board and a precision."""
    rows = rows_of(gpu, precision)
    board, measured_s = load_gpu(gpu), 1e-6 * rows.time_us.to_numpy()

    def error(x: Array) -> Array:
        return np.asarray(np.log(predicted_s(_exactly(x), board, precision, rows) / measured_s))

    most = MOST_QUANTISE_BYTES[precision]
    found = minimise(error, [[*START, most / 4]], bounds=(LOWEST, [*HIGHEST, most]), soft=0.1)
    return _spec(found.values)


def median_products(pairs: Sequence[tuple[str, str]]) -> ProductSpec:
    """The medians of what some boards reach, each in a precision."""
    numbers = pd.DataFrame([fit_products(*pair).model_dump() for pair in pairs])
    return ProductSpec(**{name: float(f"{value:.3g}") for name, value in numbers.median().items()})


def rows_of(gpu: str, precision: str) -> pd.DataFrame:
    """The timed products of a board whose operands come from memory."""
    rows = _timed().query("gpu == @gpu and precision == @precision")
    weight_bytes = WEIGHT_BYTES[precision] * rows.n * rows.k
    cached = (weight_bytes > CACHED[0]) & (weight_bytes < CACHED[1]) & (gpu in LARGE_CACHE)
    return rows[~cached]


def predicted_s(products: ProductSpec, gpu: GpuSpec, precision: str, rows: pd.DataFrame) -> Array:
    """The law for some products [s]."""
    m, n, k = (rows[name].to_numpy(float) for name in "mnk")
    peak = gpu.peak_flops("fp8" if precision == "fp8" else "bf16")
    moved_bytes = WEIGHT_BYTES[precision] * n * k + 2.0 * m * (n + k)
    bandwidth = gpu.memory_bandwidth_bytes_per_s
    return products.time_s(moved_bytes / bandwidth, 2.0 * m * n * k / peak, m * k / bandwidth)


@cache
def attention_ratios(gpu: str) -> dict[str, float]:
    """Time of decode attention over its bytes at peak, and of prefill attention over its FLOPs at peak."""
    rows, board = table("attention").query("gpu == @gpu"), load_gpu(gpu)
    decode, prompts = rows[rows.isl == 1], rows[rows.isl > 1]
    kv_bytes = 4.0 * HEAD_DIM * decode.num_key_value_heads * decode.batch_size * (decode.step + 1)
    streamed = kv_bytes >= STREAMED
    read_s = (kv_bytes / board.memory_bandwidth_bytes_per_s)[streamed]
    flops = 4.0 * HEAD_DIM * prompts.num_heads * prompts.batch_size * prefill_pairs(prompts.isl.to_numpy(float))
    ratios = {
        "context_ratio": 1e-6 * decode.time_us[streamed] / read_s,
        "prefill_attention_ratio": 1e-6 * prompts.time_us[prompts.batch_size == 1] / (flops / board.peak_bf16_flops),
    }
    return {name: max(1.0, round(float(ratio.median()), 2)) for name, ratio in ratios.items()}


def kernel_numbers(gpu: str) -> dict[str, dict[str, float] | float]:
    """Of a board that was timed, its numbers by their keys in the catalogue."""
    timed = sorted(set(_timed().query("gpu == @gpu").precision))
    products = {precision: fit_products(gpu, precision).model_dump(exclude_defaults=True) for precision in timed}
    attention = attention_ratios(gpu) if gpu in set(table("attention").gpu) else {}
    if gpu not in set(table("layers").gpu):
        return {**products, **attention}
    whole = fit_bundle(gpu)
    mixed = {"mixed_context_ratio": round(whole.mixed_context_s / least_context_s(gpu), 2)}
    return {**products, **attention, **mixed, "elementwise_efficiency": elementwise_efficiency(gpu)}


def elementwise_efficiency(gpu: str) -> float:
    """Bytes of norms, activation and rotary embedding of a layer over what they take at peak bandwidth."""
    layers = table("layers").query("gpu == @gpu and layer in @ELEMENTWISE and tokens == @LONG")
    taken_s = 1e-6 * sum(ELEMENTWISE[name] * time for name, time in zip(layers.layer, layers.time_us, strict=True))
    (qkv, width), (_, feed_forward) = LAYERS["qkv_proj"], LAYERS["down_proj"]
    moved_bytes = 2.0 * LONG * (8 * width + 3 * feed_forward + 2 * qkv)
    return round(float(moved_bytes / load_gpu(gpu).memory_bandwidth_bytes_per_s / taken_s), 2)


def least_context_s(gpu: str) -> float:
    """A token of context of LLMServingSim's model at peak bandwidth [s]."""
    return float(bounds_s(load_gpu(gpu), load_model(MODEL), 1).context_s)


def errors(gpu: str, precision: str) -> Array:
    """Relative errors of the law on the products that it is fitted to."""
    rows = rows_of(gpu, precision)
    found = predicted_s(fit_products(gpu, precision), load_gpu(gpu), precision, rows)
    return relative_errors(found, 1e-6 * rows.time_us)


@cache
def _timed() -> pd.DataFrame:
    """Products that were timed one by one, and of a board without such, the layers of a model."""
    layers = table("layers").query("gpu == @BY_LAYER and layer in @LAYERS")
    shapes = pd.DataFrame([LAYERS[name] for name in layers.layer], columns=["n", "k"], index=layers.index)
    layers = layers.rename(columns={"tokens": "m"}).join(shapes).assign(precision="bf16")
    return pd.concat([table("products"), layers[table("products").columns]], ignore_index=True)


def _exactly(x: Array) -> ProductSpec:
    memory, compute, launch_us, power, quantise = (float(value) for value in x)
    return ProductSpec(
        memory_efficiency=memory,
        compute_efficiency=compute,
        launch_s=1e-6 * launch_us,
        join_power=power,
        quantise_bytes=quantise if quantise > 1e-6 else 0.0,
    )


def _spec(x: Array) -> ProductSpec:
    """To three digits, as the catalogue has them."""
    exact = _exactly(x).model_dump()
    return ProductSpec(**{name: round(float(f"{value:.3g}"), 9) for name, value in exact.items()})
