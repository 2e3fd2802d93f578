"""Decode coefficients from serving runs: vLLM on single-turn chat, ML.ENERGY v3.

Each run keeps `avg_batch_size` sequences busy. Its *median* inter-token latency is an iteration without prefill, as
long as prefills are rare (fewer than 0.4 started per iteration): host_s and decode_s are fitted to it by least squares
of relative error. Its *mean*, batch over throughput, holds the prefills too and is a check. What a run does not say is
estimated, once for all of them:

- the prompt, 250 tokens: what (mean - median) x iterations per request costs, 16 ms on 70B at TP 4 and 6 ms on 8B
  (H100), over the kernels' 65 and 25 us per token;
- the context of a sequence, prompt + 0.87 x mean output: two H100 runs fill their KV cache (8B at 691 and 70B at 898
  sequences), which gives about 590 and 550 tokens once 10 % of the cache is left to activations and free blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import lsq_linear

from calibration.iterations import mean_over_prompts
from calibration.kernels import Kernels, fit_prefill_attention, table
from tokenfleet.envs.layers.llm import bounds_s
from tokenfleet.envs.layers.llm.iteration import Batch, TimeCoefficients, iteration_time_s, prefill_pairs

PROMPT_TOKENS = 250
GENERATED_SHARE = 0.87
GPU_NAMES = {"h100-sxm": "H100", "b200-sxm": "B200"}
LARGEST_BATCH = 512
FULL_SHARE = 0.95  # a run below this share of its batch limit is short of KV memory and preempts
RARE_PREFILLS = 0.4  # prefills started per iteration


@dataclass(frozen=True, kw_only=True)
class TimeFit(TimeCoefficients):
    """The coefficients of a profile [s], and signed relative errors by name of the comparison."""

    mixed_context_s: float = 0.0
    token_memory_share: list[float]
    errors: dict[str, list[float]]


def runs(model: str, gpu: str, tensor_parallel: int) -> pd.DataFrame:
    """The runs of a pair that the GPU limits: those before throughput first falls with batch, not short of memory."""
    rows = table("serving_runs")
    suffix = model.removeprefix("llama-").upper()
    mine = rows.model_id.str.contains(f"Llama-{suffix}-", regex=False) & (rows.gpu_model == GPU_NAMES[gpu])
    rows = with_rates(rows[mine & (rows.num_gpus == tensor_parallel)]).sort_values("max_num_seqs")
    falls = rows.output_throughput_tokens_per_sec.diff() < 0
    useful = ~falls.cummax() & (rows.avg_batch_size >= FULL_SHARE * rows.max_num_seqs)
    return rows[useful & (rows.max_num_seqs <= LARGEST_BATCH)]


def with_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from a run: mean iteration [s], prefills started per iteration, context tokens per iteration."""
    mean_s = rows.avg_batch_size / rows.output_throughput_tokens_per_sec
    prefills = rows.avg_batch_size / rows.avg_output_len
    context = rows.avg_batch_size * (PROMPT_TOKENS + GENERATED_SHARE * rows.avg_output_len)
    return rows.assign(mean_s=mean_s, prefills=prefills, context=context)


def fit_measured(model: str, gpu: str, tensor_parallel: int) -> TimeFit:
    """Host and decode from the runs; the rest from kernels."""
    return _fit_decode(runs(model, gpu, tensor_parallel), from_kernels(Kernels(model, gpu, tensor_parallel)))


def fit_kernels(model: str, gpu: str, tensor_parallel: int, like: str) -> TimeFit:
    """A pair without serving runs: its own kernels, plus what serving adds to the kernels of the GPU `like`.

    What serving adds (host, scheduling, sampling, launches) is taken to be the same seconds on both GPUs: an
    assumption.
    """
    served = fit_measured(model, like, tensor_parallel)
    return replace(from_kernels(Kernels(model, gpu, tensor_parallel)), host_s=served.host_s, decode_s=served.decode_s)


def from_kernels(kernels: Kernels) -> TimeFit:
    """What kernels alone take: nothing on the host, nothing for a sequence beyond its token."""
    pair_s, prompt_errors = fit_prefill_attention(kernels)
    return TimeFit(
        host_s=0.0,
        token_s=kernels.token_s().tolist(),
        token_memory_share=kernels.token_memory_share().tolist(),
        decode_s=0.0,
        context_s=max(kernels.decode_attention_s()[1], bounds_s(kernels.gpu, kernels.model, kernels.tp).context_s),
        prefill_attention_s=pair_s,
        errors={"prefill": prompt_errors},
    )


def _fit_decode(rows: pd.DataFrame, kernels: TimeFit) -> TimeFit:
    """Host and decode by least squares of relative error over medians; the means, with their prefills, are a check."""
    rare = rows[rows.prefills < RARE_PREFILLS]
    batch, median_s = rare.avg_batch_size.to_numpy(), rare.median_itl_ms.to_numpy() / 1e3
    nothing = np.zeros_like(batch)
    steps = Batch(batch, rare.context.to_numpy(), nothing, nothing)
    known_s = iteration_time_s(kernels, steps)
    columns = np.column_stack([np.ones_like(batch), batch]) / median_s[:, None]
    scale = np.array([1e-3, 1e-5])
    solved = lsq_linear(columns * scale, (median_s - known_s) / median_s, bounds=(0.0, np.inf))
    host_s, decode_s = (solved.x * scale).tolist()
    fit = replace(kernels, host_s=host_s, decode_s=decode_s)
    errors = {
        **fit.errors,
        "decode_step": (iteration_time_s(fit, steps) / median_s - 1.0).tolist(),
        "mean_iteration": (_mean_iteration_s(fit, rows) / rows.mean_s.to_numpy() - 1.0).tolist(),
    }
    return replace(fit, errors=errors)


def _mean_iteration_s(fit: TimeFit, rows: pd.DataFrame) -> np.ndarray:
    """The mean iteration of each run, prompts included [s]."""
    decoding, prefills = rows.avg_batch_size.to_numpy()[:, None], rows.prefills.to_numpy()
    pairs = prefills[:, None] * prefill_pairs(PROMPT_TOKENS)
    context = rows.context.to_numpy()[:, None]

    def time_s(tokens: np.ndarray) -> np.ndarray:
        return iteration_time_s(fit, Batch(decoding, context, tokens - decoding, pairs))

    return mean_over_prompts(time_s, decoding[:, 0], PROMPT_TOKENS, prefills)
