"""Fused experts of one layer as vLLM runs them, by format of their weights, tokens and how boards share them."""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path

import pandas as pd

from calibration.extract.products import FILES

BLOCKS = {"bfloat16": "bf16", "fp8_block": "fp8", "w4a16_mxfp4": "mxfp4"}
# No table of this board has products in blocks; its products with one scale a matrix stand for them.
NO_BLOCKS = {"rtx-pro-6000-blackwell-server": {"bfloat16": "bf16", "fp8": "fp8", "w4a16_mxfp4": "mxfp4"}}
# (hidden size, width of an expert, experts a token takes, experts of a layer)
SHAPES = {(2048, 768, 8, 128), (4096, 1536, 8, 128), (6144, 2560, 8, 160), (2880, 2880, 4, 32), (2880, 2880, 4, 128)}
SHAPES |= {(5120, 8192, 1, 16), (4096, 14336, 2, 8), (4096, 1024, 10, 512), (6144, 2048, 8, 256), (7168, 2048, 8, 256)}
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
SHARED_BY = {(1, 1), (4, 1), (8, 1), (1, 4), (1, 8)}  # boards that slice every expert, boards that share experts out
ROUTINGS = {"balanced": 0.0, "power_law_1.2": 1.2}
RENAMED = {"hidden_size": "width", "inter_size": "expert_width", "topk": "routed", "num_experts": "experts"}
RENAMED |= {"num_tokens": "tokens", "moe_tp_size": "tensor_parallel", "moe_ep_size": "expert_parallel"}


def experts(source: Path) -> pd.DataFrame:
    """Fused experts of a layer on the busiest board; microseconds, routing as the exponent of its power law."""
    frames = []
    for gpu, stem in FILES.items():
        rows = pd.read_parquet(source / f"llm_perf/aiconfigurator/{stem}_moe.parquet")
        rows = rows.assign(
            gpu=gpu,
            format=rows.moe_dtype.map(NO_BLOCKS.get(gpu, BLOCKS)),
            routing=rows.distribution.map(ROUTINGS),
            latency_us=1e3 * rows.latency,
        ).rename(columns=RENAMED)
        shapes = _among(rows, ["width", "expert_width", "routed", "experts"], SHAPES)
        shared = _among(rows, ["tensor_parallel", "expert_parallel"], SHARED_BY)
        wanted = shapes & shared & rows.tokens.isin(TOKENS) & rows.format.notna() & rows.routing.notna()
        frames.append(rows[wanted & (rows.latency_us > 0.0)])
    keys = ["gpu", "format", "width", "expert_width", "routed", "experts", "tensor_parallel", "expert_parallel"]
    keys += ["routing", "tokens"]
    return pd.concat(frames).groupby(keys).latency_us.median().reset_index().round({"latency_us": 2})


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {"experts.csv.gz": experts}
"""File of `data/` -> what cuts it out of the originals."""


def _among(rows: pd.DataFrame, columns: list[str], wanted: Set[tuple[int, ...]]) -> pd.Series:
    found = [values in wanted for values in zip(*(rows[name] for name in columns), strict=True)]
    return pd.Series(found, index=rows.index)
