"""Multi-head latent attention of one layer as vLLM runs it, products included, DeepSeek-V3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

TABLES_OF = {
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "b200-sxm": "b200_sxm",
    "l40s": "l40s",
    "rtx-pro-6000-blackwell-server": "rtx_pro_6000_server",
}
FORMATS = {"bfloat16": "bf16", "fp8_block": "fp8"}
HEADS = (16, 32, 64, 128)
BATCHES = (1, 8, 32, 128, 512)
CONTEXTS = (2, 128, 512, 2048, 8192, 32768, 131072)
PROMPTS = (256, 1024, 2048, 4096, 8192, 16384, 32768)


def latent_attention(source: Path) -> pd.DataFrame:
    """Decode (context of each sequence) and prefill (length of one prompt), bf16 cache; microseconds."""
    frames = []
    for gpu, stem in TABLES_OF.items():
        decode, prompts = (
            pd.read_parquet(source / f"llm_perf/aiconfigurator/{stem}_vllm0.24.0_mla_{phase}_module.parquet")
            for phase in ("generation", "context")
        )
        decode = decode[decode.step.isin(CONTEXTS)].assign(phase="decode", tokens=decode.step)
        prompts = prompts[(prompts.batch_size == 1) & prompts.isl.isin(PROMPTS) & (prompts.mla_dtype == "bfloat16")]
        frames.append(pd.concat([decode, prompts.assign(phase="prefill", tokens=prompts.isl)]).assign(gpu=gpu))
    rows = pd.concat(frames).rename(columns={"num_heads": "heads", "batch_size": "batch"})
    rows = rows.assign(format=rows.gemm_type.map(FORMATS), latency_us=1e3 * rows.latency)
    rows = rows[rows.heads.isin(HEADS) & rows.batch.isin(BATCHES) & (rows.kv_cache_dtype == "bfloat16")]
    keys = ["gpu", "phase", "format", "heads", "batch", "tokens"]
    return rows.groupby(keys).latency_us.median().dropna().reset_index().round({"latency_us": 2})


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {"latent_attention.csv.gz": latent_attention}
"""File of `data/` -> what cuts it out of the originals."""
