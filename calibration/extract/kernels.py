"""Kernels and layers that others timed one by one: aiconfigurator, Vidur, LLMServingSim."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

KERNEL_FILES = {
    "h200-sxm": "h200_sxm_vllm0.22.0",
    "b200-sxm": "b200_sxm_vllm0.22.0",
    "a100-sxm-80gb": "a100_sxm_vllm0.14.0",
}
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
# (n, k) on the measured grid at or around the layers of Llama 3.1 8B at TP 1 and 70B at TP 2 and 4.
GEMM_SHAPES = {
    *((n, 4096) for n in (4096, 6144, 16384, 51200, 65536)),
    *((4096, k) for k in (12288, 16384)),
    *((n, 8192) for n in (2560, 5120, 12288, 16384, 51200, 65536)),
    *((8192, k) for k in (2048, 4096, 7168, 12288, 16384)),
}
HEADS = {(32, 8), (32, 4), (16, 2)}  # query and KV heads per GPU of the same three
CONTEXT_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
KV_LENGTHS = (255, 511, 1023, 2047, 4095, 8191)
BUNDLES = {"rtx-4090": "RTX4090", "rtx-pro-6000-blackwell-server": "RTXPRO6000"}
VIDUR_LAYERS = ["input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "post_attention_layernorm"]
VIDUR_LAYERS += ["mlp_up_proj", "mlp_act", "mlp_down_proj", "add"]
BATCHES = (8, 16, 32, 64, 128, 256)
CHUNKS = (0, 16, 64, 256, 512, 1024, 2048)
CONTEXTS = (256, 512, 1024, 2048, 4096, 8192)
FEW = 1 / 8  # sequences of a batch that have a longer context than the others


def gemm(source: Path) -> pd.DataFrame:
    """Matrix products [m, n] = [m, k] x [k, n] in bf16: latency in ms."""
    frames = []
    for gpu, stem in KERNEL_FILES.items():
        rows = pd.read_csv(source / f"llm_perf/aiconfigurator/{stem}_gemm_bf16.csv.gz")
        wanted = rows.m.isin(TOKENS) & _among(rows, "n", "k", GEMM_SHAPES)
        frames.append(_kernel_rows(rows[wanted], gpu, ["m", "n", "k"]))
    return pd.concat(frames)


def attention(source: Path, phase: str, length: str, lengths: tuple[int, ...]) -> pd.DataFrame:
    """Attention kernels of one layer, head dimension 128, bf16, no window: latency in ms."""
    frames = []
    for gpu, stem in KERNEL_FILES.items():
        rows = pd.read_csv(source / f"llm_perf/aiconfigurator/{stem}_{phase}_attention_bf16_hd128.csv.gz")
        heads = _among(rows, "num_heads", "num_key_value_heads", HEADS)
        wanted = rows[length].isin(lengths) & heads & (rows.get("window_size", 0) == 0)
        wanted &= (rows.batch_size == 1) if phase == "context" else rows.batch_size.isin([1, 8, 32, 64, 128, 256])
        keys = ["num_heads", "num_key_value_heads", "batch_size", length]
        frames.append(_kernel_rows(rows[wanted], gpu, keys))
    return pd.concat(frames)


def all_reduce(source: Path) -> pd.DataFrame:
    """Vidur: all-reduce over the 8 A100 of a DGX; bytes, ms."""
    rows = pd.read_csv(source / "llm_perf/vidur/a100_dgx_all_reduce.csv.gz")
    one_node = rows.devices_per_node == rows.max_devices_per_node
    rows = rows[(rows.num_workers == 8) & one_node].rename(columns={"size": "bytes"})
    median_ms = rows.groupby("bytes")["time_stats.all_reduce.median"].median().rename("time_ms")
    return median_ms.reset_index().round(4).iloc[::4]


def h100_layers(source: Path) -> pd.DataFrame:
    """LLMServingSim: layers of one H100, microseconds; a check on the H200's matrix products."""
    frames = []
    for model, degree in (("8b", 1), ("70b", 4)):
        rows = pd.read_csv(source / f"llm_perf/llmservingsim/H100_llama3.1-{model}_tp{degree}_layers.csv.gz")
        rows = rows[rows.input.isin([512, 1024, 2048]) & rows.layer_name.str.contains("_proj|act_fn")]
        frames.append(rows.assign(model=f"llama-3.1-{model}", time_us=rows["latency(ns)"] / 1e3))
    return pd.concat(frames)[["model", "tp_size", "layer_name", "input", "time_us"]]


def layers(source: Path) -> pd.DataFrame:
    """LLMServingSim: microseconds of every layer but attention, by tokens or, where marked, by sequences."""
    dense = _bundles(source, "dense")
    sequences = _bundles(source, "per_sequence").rename(columns={"sequences": "tokens"})
    return pd.concat([dense, sequences]).round(3)


def mixed_attention(source: Path) -> pd.DataFrame:
    """LLMServingSim: microseconds of one attention call that serves a prompt's chunk, decoding sequences, or both."""
    rows = _bundles(source, "attention")
    contexts = rows.kv_decode.isin((0, *CONTEXTS)) & rows.kv_prefill.isin((0, *CONTEXTS))
    return rows[rows.n_decode.isin((0, *BATCHES)) & rows.prefill_chunk.isin(CHUNKS) & contexts].round(2)


def uneven_attention(source: Path) -> pd.DataFrame:
    """LLMServingSim: the same where few sequences have four times the context of the others, and where none has."""
    rows = _bundles(source, "skew").rename(columns={"n": "n_decode", "pc": "prefill_chunk", "kp": "kv_prefill"})
    wanted = rows.n_decode.isin(BATCHES) & rows.prefill_chunk.isin(CHUNKS) & (rows.ratio <= FEW) & (rows["skew"] == 4)
    wanted &= (rows.kvs >= CONTEXTS[0]) & (rows.kv_big <= CONTEXTS[-1]) & rows.kv_prefill.isin((0, *CONTEXTS))
    columns = ["gpu", "n_decode", "prefill_chunk", "kv_prefill", "kvs", "kv_big", "ratio", "t_mean_us", "t_skew_us"]
    return rows[wanted][columns].round(4)


def vidur_layers(source: Path) -> pd.DataFrame:
    """Vidur: milliseconds of each layer but attention, Llama-2-70B on A100."""
    rows = pd.read_csv(source / "llm_perf/vidur/a100_Llama-2-70b-hf_mlp.csv.gz")
    rows = rows.rename(columns={"num_tensor_parallel_workers": "tensor_parallel", "num_tokens": "tokens"})
    rows = rows[rows.tensor_parallel > 1].rename(columns=lambda name: name.removeprefix("time_stats."))
    medians = rows.groupby(["tensor_parallel", "tokens"])[[f"{name}.median" for name in VIDUR_LAYERS]].median()
    return medians.set_axis(VIDUR_LAYERS, axis=1).reset_index().round(4)


def vidur_all_reduce(source: Path) -> pd.DataFrame:
    """Vidur: milliseconds of an all-reduce over 2, 4 or 8 A100 of one server."""
    rows = pd.read_csv(source / "llm_perf/vidur/a100_dgx_all_reduce.csv.gz")
    rows = rows[rows.devices_per_node == rows.num_workers].rename(columns={"size": "bytes"})
    median_ms = rows.groupby(["num_workers", "bytes"])["time_stats.all_reduce.median"].median().rename("time_ms")
    return median_ms.reset_index().round(4).iloc[::4]


def vidur_attention(source: Path) -> pd.DataFrame:
    """Vidur: milliseconds of attention of one layer, Llama-2-70B over 2 A100; chunk 0 is decode."""
    rows = pd.read_csv(source / "llm_perf/vidur/a100_llama2-70b_tp2_attention.csv.gz")
    time_ms = rows["time_stats.attn_prefill.median"].fillna(rows["time_stats.attn_decode.median"])
    keys = ["batch_size", "prefill_chunk_size", "kv_cache_size"]
    table = rows.assign(time_ms=time_ms).groupby(keys).time_ms.median().reset_index()
    decode = (table.prefill_chunk_size == 0) & (table.batch_size % 8 == 0)
    prefill = table.prefill_chunk_size > 0
    whole = (table.kv_cache_size % 128 == 0) & (table.prefill_chunk_size % 128 == 0)
    return table[(decode | prefill) & whole].round(4)


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "gemm.csv": gemm,
    "context_attention.csv": partial(attention, phase="context", length="isl", lengths=CONTEXT_LENGTHS),
    "generation_attention.csv": partial(attention, phase="generation", length="step", lengths=KV_LENGTHS),
    "all_reduce.csv": all_reduce,
    "h100_layers.csv": h100_layers,
    "layers.csv.gz": layers,
    "mixed_attention.csv.gz": mixed_attention,
    "uneven_attention.csv.gz": uneven_attention,
    "vidur_layers.csv.gz": vidur_layers,
    "vidur_all_reduce.csv.gz": vidur_all_reduce,
    "vidur_attention.csv.gz": vidur_attention,
}
"""File of `data/` -> what cuts it out of the originals."""


def _among(rows: pd.DataFrame, first: str, second: str, pairs: set[tuple[int, int]]) -> pd.Series:
    return pd.Series([pair in pairs for pair in zip(rows[first], rows[second], strict=True)], index=rows.index)


def _kernel_rows(rows: pd.DataFrame, gpu: str, keys: list[str]) -> pd.DataFrame:
    latency_ms = rows.groupby(keys).latency.median().rename("latency_ms").reset_index()
    return latency_ms.assign(gpu=gpu)[["gpu", *keys, "latency_ms"]]


def _bundles(source: Path, table: str) -> pd.DataFrame:
    folder = source / "llm_perf/llmservingsim"
    frames = [
        pd.read_csv(folder / f"{bundle}_llama3.1-8b_tp1_{table}.csv.gz").assign(gpu=gpu)
        for gpu, bundle in BUNDLES.items()
    ]
    rows = pd.concat(frames)
    return rows[["gpu", *rows.columns.drop("gpu")]]
