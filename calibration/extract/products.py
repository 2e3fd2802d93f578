"""Products of matrices and attention that aiconfigurator timed on six boards, in vLLM's kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

FILES = {
    "a100-sxm-80gb": "a100_sxm_vllm0.14.0",
    "h100-sxm": "h100_sxm_vllm0.24.0",
    "h200-sxm": "h200_sxm_vllm0.24.0",
    "b200-sxm": "b200_sxm_vllm0.24.0",
    "l40s": "l40s_vllm0.24.0",
    "rtx-pro-6000-blackwell-server": "rtx_pro_6000_server_vllm0.24.0",
}
PRECISIONS = {"bfloat16": "bf16", "fp8": "fp8"}
TOKENS = (1, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
ROWS = (1024, 2560, 5120, 8192, 12288, 16384)
COLUMNS = (1024, 2048, 4096, 5120, 8192, 16384)
CONTEXTS = (1023, 2047, 4095, 8191, 16383)
HEAD_DIM = 128
ATTENTION_COLUMNS = ["batch_size", "isl", "step", "num_heads", "num_key_value_heads", "latency"]
NO_LENGTH = {"isl": 1, "step": 0}  # a decoding sequence adds one token, a prompt has none before it
PROMPTS = (4096, 8192, 16384)


def products(source: Path) -> pd.DataFrame:
    """Products [m, n] = [m, k] x [k, n]: microseconds."""
    frames = []
    for gpu, stem in FILES.items():
        rows = pd.read_parquet(source / f"llm_perf/aiconfigurator/{stem}_gemm.parquet")
        wanted = rows.m.isin(TOKENS) & rows.n.isin(ROWS) & rows.k.isin(COLUMNS) & rows.gemm_dtype.isin(PRECISIONS)
        frames.append(rows[wanted].assign(gpu=gpu))
    rows = pd.concat(frames)
    rows = rows.assign(precision=rows.gemm_dtype.map(PRECISIONS))
    return _median_us(rows, ["gpu", "precision", "m", "n", "k"])


def attention(source: Path) -> pd.DataFrame:
    """Attention of one layer, heads of 128, bf16, no window: microseconds; `isl` 1 and a `step` is decoding."""
    frames = []
    for gpu, stem in FILES.items():
        for phase, lengths in (("context", PROMPTS), ("generation", CONTEXTS)):
            rows = _attention_rows(source / "llm_perf/aiconfigurator", f"{stem}_{phase}_attention")
            wanted = rows.isl.isin(lengths) if phase == "context" else rows.step.isin(lengths)
            wanted &= rows.batch_size.isin((1, 16, 64, 256)) & rows.num_heads.isin((8, 16, 32, 64))
            frames.append(rows[wanted & rows.num_key_value_heads.isin((1, 2, 4, 8))].assign(gpu=gpu))
    keys = ["gpu", "batch_size", "isl", "step", "num_heads", "num_key_value_heads"]
    return _median_us(pd.concat(frames), keys)


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {"products.csv.gz": products, "attention.csv.gz": attention}
"""File of `data/` -> what cuts it out of the originals."""


def _attention_rows(folder: Path, stem: str) -> pd.DataFrame:
    """Plain attention; of the A100 there is only a table that was cut to it."""
    if stem.startswith("a100"):
        rows = pd.read_csv(folder / f"{stem}_bf16_hd128.csv.gz").reindex(columns=ATTENTION_COLUMNS)
        return rows.fillna(NO_LENGTH).astype({name: int for name in NO_LENGTH})
    rows = pd.read_parquet(folder / f"{stem}.parquet")
    return rows[(rows.window_size == 0) & (rows.head_dim == HEAD_DIM) & (rows.kv_cache_dtype == "bfloat16")]


def _median_us(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return (1e3 * rows.groupby(keys).latency.median().rename("time_us")).round(2).reset_index()
