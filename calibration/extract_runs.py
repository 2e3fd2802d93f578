"""Excerpts for whole runs: kernels timed layer by layer, requests as they were served; see `calibration.extract`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

BUNDLES = {"rtx-4090": "RTX4090", "rtx-pro-6000-blackwell-server": "RTXPRO6000"}
VIDUR_RUNS = {"1 replica": "r1_sarathi512_q0.8_n1000", "8 replicas": "r8rr_sarathi512_q6.4_n4000"}
VIDUR_LAYERS = ["input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "post_attention_layernorm"]
VIDUR_LAYERS += ["mlp_up_proj", "mlp_act", "mlp_down_proj", "add"]
BATCHES = (8, 16, 32, 64, 128, 256)
CHUNKS = (0, 16, 64, 256, 512, 1024, 2048)
CONTEXTS = (256, 512, 1024, 2048, 4096, 8192)
FEW = 1 / 8  # sequences of a batch that have a longer context than the others
Cut = Callable[[Path], pd.DataFrame]


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


def vllm_requests(source: Path) -> pd.DataFrame:
    """LLMServingSim: what a real vLLM 0.19 made of 300 requests."""
    frames = []
    for gpu, bundle in BUNDLES.items():
        path = source / f"llm_perf/llmservingsim/REAL_vllm0.19_{bundle}_Llama-3.1-8B_requests.csv.gz"
        frames.append(pd.read_csv(path).sort_values("arrival_s", kind="stable").assign(gpu=gpu))
    columns = ["gpu", "arrival_s", "prompt_tokens", "output_tokens", "first_token_s", "last_token_s"]
    return pd.concat(frames)[columns].round(6)


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


def vidur_requests(source: Path) -> pd.DataFrame:
    """Vidur: what its simulator made of 1,000 requests on one replica and of 4,000 on eight."""
    frames = []
    for name, folder in VIDUR_RUNS.items():
        rows = pd.read_csv(source / f"peer_runs/vidur/{folder}/requests.csv.gz").sort_values("request_id")
        frames.append(rows.assign(run=name))
    columns = ["run", "arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "e2e_s"]
    return pd.concat(frames)[columns].round(4)


TABLES: dict[str, Cut] = {
    "layers": layers,
    "mixed_attention": mixed_attention,
    "uneven_attention": uneven_attention,
    "vllm_requests": vllm_requests,
    "vidur_layers": vidur_layers,
    "vidur_all_reduce": vidur_all_reduce,
    "vidur_attention": vidur_attention,
    "vidur_requests": vidur_requests,
}


def _bundles(source: Path, table: str) -> pd.DataFrame:
    folder = source / "llm_perf/llmservingsim"
    frames = [
        pd.read_csv(folder / f"{bundle}_llama3.1-8b_tp1_{table}.csv.gz").assign(gpu=gpu)
        for gpu, bundle in BUNDLES.items()
    ]
    rows = pd.concat(frames)
    return rows[["gpu", *rows.columns.drop("gpu")]]
