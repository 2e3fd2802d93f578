"""Cut the excerpts of `data/` out of the published files: `python -m calibration.extract FOLDER`.

FOLDER holds the originals as data/README.md names them. Only needed to add a GPU, a model or a tensor-parallel degree.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from calibration import extract_runs

DATA = Path(__file__).parent / "data"
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
SERVED = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct")
SERVED_FOR_POWER = (*SERVED, "Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "Qwen/Qwen3-32B")


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


def capping(source: Path) -> pd.DataFrame:
    """Zeus: training jobs on one V100 under power limits; s per epoch, mean W."""
    rows = pd.read_csv(source / "gpu_power/zeus_nsdi23/summary_power_v100.csv")
    return rows.round(4)


def splitwise(source: Path) -> pd.DataFrame:
    """Llama-2-70B of Splitwise: medians of prompt and token time in ms; power as a share of TDP, A100 only."""
    rows = pd.read_csv(source / "gpu_power/splitwise_sim/perf_model.csv")
    rows = rows[(rows.model == "llama2-70b") & rows.hardware.isin(["a100-80gb", "h100-80gb"]) & (rows.batch_size <= 32)]
    keys = ["hardware", "tensor_parallel", "batch_size", "prompt_size"]
    measured = rows[rows.average_power > 0].groupby(keys).average_power.median()
    table = rows.groupby(keys)[["prompt_time", "token_time"]].median().join(measured)
    return table.reset_index().round(4)


def perseus(source: Path) -> pd.DataFrame:
    """Perseus: the pipeline stages of GPT-3 175B on an A100 at locked clocks; MHz, s, J."""
    return pd.read_csv(source / "gpu_power/perseus_sosp24/gpt3-175b+a100_sxm_bf16.csv").round(6)


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


def server_fans(source: Path) -> pd.DataFrame:
    """GreenSKU: power of whole servers and of their fans, W."""
    rows = pd.read_csv(source / "gpu_power/azure_greensku_server_fan_power.csv")
    return rows[["server power", "fan power"]].set_axis(["server_w", "fan_w"], axis=1).round(2)


def main() -> None:
    """Write every excerpt."""
    source = Path(sys.argv[1])
    tables = {
        "gemm": gemm(source),
        "context_attention": attention(source, "context", "isl", CONTEXT_LENGTHS),
        "generation_attention": attention(source, "generation", "step", KV_LENGTHS),
        "serving_runs": serving_runs(source),
        "power_runs": power_runs(source),
        "power_runs_earlier": power_runs_earlier(source),
        "splitwise": splitwise(source),
        "perseus": perseus(source),
        "capping": capping(source),
        "all_reduce": all_reduce(source),
        "h100_layers": h100_layers(source),
        "server_fans": server_fans(source),
    }
    for name, table in tables.items():
        table.to_csv(DATA / f"{name}.csv", index=False, float_format="%.6g")
    for name, cut in extract_runs.TABLES.items():
        packed = {"method": "gzip", "mtime": 1}
        cut(source).to_csv(DATA / f"{name}.csv.gz", index=False, float_format="%.8g", compression=packed)


def _among(rows: pd.DataFrame, first: str, second: str, pairs: set[tuple[int, int]]) -> pd.Series:
    return pd.Series([pair in pairs for pair in zip(rows[first], rows[second], strict=True)], index=rows.index)


def _kernel_rows(rows: pd.DataFrame, gpu: str, keys: list[str]) -> pd.DataFrame:
    latency_ms = rows.groupby(keys).latency.median().rename("latency_ms").reset_index()
    return latency_ms.assign(gpu=gpu)[["gpu", *keys, "latency_ms"]]


if __name__ == "__main__":
    main()
