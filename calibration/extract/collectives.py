"""Collectives that aiconfigurator timed over NVLink and PCIe: what vLLM picks for an all-reduce, NCCL for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

FILES = {
    "a100-sxm-80gb": ("a100_sxm_vllm0.14.0", "a100_sxm_nccl2.27.3"),
    "h100-sxm": ("h100_sxm_vllm0.24.0", "h100_sxm_nccl2.29.2"),
    "h200-sxm": ("h200_sxm_vllm0.24.0", "h200_sxm_nccl2.29.2"),
    "b200-sxm": ("b200_sxm_vllm0.24.0", "b200_sxm_nccl2.29.2"),
    "l40s": ("l40s_vllm0.22.0", "l40s_nccl2.27.3"),
    "rtx-pro-6000-blackwell-server": ("rtx_pro_6000_server_vllm0.24.0", "rtx_pro_6000_server_nccl2.29.2"),
}
OVER_PCIE = ("l40s", "rtx-pro-6000-blackwell-server")
VALUE_BYTES = 2  # both tables count values of 16 bits: NCCL takes as long for half of them as for as many of 8 bits


def collectives(source: Path) -> pd.DataFrame:
    """All-reduces as vLLM launches them inside a CUDA graph, and NCCL's other collectives: bytes, microseconds."""
    frames = []
    for gpu, (vllm, nccl) in FILES.items():
        reduce = pd.read_parquet(source / f"llm_perf/aiconfigurator/{vllm}_custom_allreduce.parquet")
        others = pd.read_parquet(source / f"llm_perf/aiconfigurator/{nccl}.parquet")
        others = others[(others.nccl_dtype == "half") & (others.op_name != "all_reduce")]
        frames.append(pd.concat([reduce[reduce.backend == "vllm_graph"], others]).assign(gpu=gpu))
    rows = pd.concat(frames).rename(columns={"num_gpus": "boards"})
    rows = rows.assign(collective=rows.op_name.replace("alltoall", "all_to_all"), bytes=VALUE_BYTES * rows.message_size)
    return _medians(rows)


def nccl_all_reduces(source: Path) -> pd.DataFrame:
    """NCCL's all-reduces between two boards over PCIe, which vLLM falls back to: bytes, microseconds."""
    frames = []
    for gpu in OVER_PCIE:
        rows = pd.read_parquet(source / f"llm_perf/aiconfigurator/{FILES[gpu][1]}.parquet")
        chosen = (rows.nccl_dtype == "half") & (rows.op_name == "all_reduce") & (rows.num_gpus == 2)
        frames.append(rows[chosen].assign(gpu=gpu, collective="all_reduce"))
    rows = pd.concat(frames).rename(columns={"num_gpus": "boards"})
    return _medians(rows.assign(bytes=VALUE_BYTES * rows.message_size))


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "collectives.csv.gz": collectives,
    "nccl_all_reduces.csv": nccl_all_reduces,
}
"""File of `data/` -> what cuts it out of the originals."""


def _medians(rows: pd.DataFrame) -> pd.DataFrame:
    median_us = 1e3 * rows.groupby(["gpu", "collective", "boards", "bytes"]).latency.median().rename("time_us")
    return median_us.reset_index()
