"""Runs of whole servers: ML.ENERGY and Splitwise in the mean, vLLM and Vidur request by request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from calibration.extract.kernels import BUNDLES

SERVED = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct")
SERVED_FOR_POWER = (*SERVED, "Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "Qwen/Qwen3-32B")
VIDUR_RUNS = {"1 replica": "r1_sarathi512_q0.8_n1000", "8 replicas": "r8rr_sarathi512_q6.4_n4000"}


def serving_runs(source: Path) -> pd.DataFrame:
    """Serving runs (vLLM) of ML.ENERGY v3 on single-turn chat, dense bf16 models."""
    rows = pd.read_csv(source / "gpu_power/mlenergy_v3/llm_mllm_configs.csv")
    rows = rows[(rows.task == "lm-arena-chat") & rows.model_id.isin(SERVED_FOR_POWER)]
    columns = ["gpu_model", "model_id", "num_gpus", "max_num_seqs", "avg_batch_size", "avg_output_len"]
    columns += ["median_itl_ms", "output_throughput_tokens_per_sec", "avg_power_watts"]
    return rows[columns].sort_values(columns[:4]).round(4)


def power_runs(source: Path) -> pd.DataFrame:
    """Serving runs (vLLM) of ML.ENERGY v3 on text: steps and what the boards drew, dense and mixtures of experts."""
    rows = pd.read_csv(source / "gpu_power/mlenergy_v3/llm_mllm_configs.csv")
    text = rows.task.isin(["lm-arena-chat", "gpqa", "sourcegraph-fim"])
    rows = rows[text & ~rows.architecture.str.startswith("Mamba")]
    columns = ["gpu_model", "model_id", "task", "num_gpus", "tensor_parallel", "max_num_seqs", "avg_batch_size"]
    columns += ["avg_output_len", "median_itl_ms", "output_throughput_tokens_per_sec", "avg_power_watts"]
    return rows[columns].sort_values(columns[:6]).round(4)


def power_runs_earlier(source: Path) -> pd.DataFrame:
    """Serving runs of ML.ENERGY v2, an earlier vLLM that waits for its host: joules per request over all boards."""
    rows = pd.read_csv(source / "gpu_power/mlenergy_v2/llm_text_generation.csv")
    rows = rows[(rows.PP == 1) & ~rows.model.str.contains("Mixtral")]
    names = {"GPU": "gpu_model", "model": "model_id", "TP": "num_gpus", "Max BS (reqs)": "max_num_seqs"}
    names |= {"Avg BS (reqs)": "avg_batch_size", "Avg Output Tokens": "avg_output_len"}
    names |= {"Token tput (tok/s)": "output_throughput_tokens_per_sec", "Energy/req (J)": "joule_per_request"}
    columns = list(names.values())
    rows = rows.rename(columns=names)[["task", *columns]]
    return rows.sort_values([*columns[:2], "num_gpus", "max_num_seqs"]).round(4)


def splitwise(source: Path) -> pd.DataFrame:
    """Llama-2-70B of Splitwise: medians of prompt and token time in ms; power as a share of TDP, A100 only."""
    rows = pd.read_csv(source / "gpu_power/splitwise_sim/perf_model.csv")
    rows = rows[(rows.model == "llama2-70b") & rows.hardware.isin(["a100-80gb", "h100-80gb"]) & (rows.batch_size <= 32)]
    keys = ["hardware", "tensor_parallel", "batch_size", "prompt_size"]
    measured = rows[rows.average_power > 0].groupby(keys).average_power.median()
    table = rows.groupby(keys)[["prompt_time", "token_time"]].median().join(measured)
    return table.reset_index().round(4)


def vllm_requests(source: Path) -> pd.DataFrame:
    """LLMServingSim: what a real vLLM 0.19 made of 300 requests."""
    frames = []
    for gpu, bundle in BUNDLES.items():
        path = source / f"llm_perf/llmservingsim/REAL_vllm0.19_{bundle}_Llama-3.1-8B_requests.csv.gz"
        frames.append(pd.read_csv(path).sort_values("arrival_s", kind="stable").assign(gpu=gpu))
    columns = ["gpu", "arrival_s", "prompt_tokens", "output_tokens", "first_token_s", "last_token_s"]
    return pd.concat(frames)[columns].round(6)


def vidur_requests(source: Path) -> pd.DataFrame:
    """Vidur: what its simulator made of 1,000 requests on one replica and of 4,000 on eight."""
    frames = []
    for name, folder in VIDUR_RUNS.items():
        rows = pd.read_csv(source / f"peer_runs/vidur/{folder}/requests.csv.gz").sort_values("request_id")
        frames.append(rows.assign(run=name))
    columns = ["run", "arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "e2e_s"]
    return pd.concat(frames)[columns].round(4)


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "serving_runs.csv": serving_runs,
    "power_runs.csv": power_runs,
    "power_runs_earlier.csv": power_runs_earlier,
    "splitwise.csv": splitwise,
    "vllm_requests.csv.gz": vllm_requests,
    "vidur_requests.csv.gz": vidur_requests,
}
"""File of `data/` -> what cuts it out of the originals."""
