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

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import lsq_linear

from calibration.iterations import mean_over_prompts
from calibration.kernels import Kernels, fit_prefill_attention, pairs, table
from tokenfleet.envs.layers.iteration import at_tokens
from tokenfleet.envs.layers.llm import bounds_s

PROMPT_TOKENS = 250
GENERATED_SHARE = 0.87
GPU_NAMES = {"h100-sxm": "H100", "b200-sxm": "B200"}
LARGEST_BATCH = 512
FULL_SHARE = 0.95  # a run below this share of its batch limit is short of KV memory and preempts
RARE_PREFILLS = 0.4  # prefills started per iteration


@dataclass(frozen=True)
class TimeFit:
    """The coefficients of a profile [s], and signed relative errors by name of the comparison."""

    host_s: float
    token_s: list[float]
    token_memory_share: list[float]
    decode_s: float
    context_s: float
    prefill_attention_s: float
    errors: dict[str, list[float]]
    mixed_context_s: float = 0.0


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
    kernels = Kernels(model, gpu, tensor_parallel)
    context_s = _context_s(kernels)
    pair_s, prompt_errors = fit_prefill_attention(kernels)
    (host_s, decode_s), errors = _fit_decode(runs(model, gpu, tensor_parallel), kernels.token_s(), context_s, pair_s)
    return _time_fit(kernels, host_s, decode_s, pair_s, {**errors, "prefill": prompt_errors})


def fit_kernels(model: str, gpu: str, tensor_parallel: int, like: str) -> TimeFit:
    """A pair without serving runs: its own kernels, plus what serving adds to the kernels of the GPU `like`.

    What serving adds (host, scheduling, sampling, launches) is taken to be the same seconds on both GPUs: an
    assumption.
    """
    kernels = Kernels(model, gpu, tensor_parallel)
    served = fit_measured(model, like, tensor_parallel)
    pair_s, prompt_errors = fit_prefill_attention(kernels)
    return _time_fit(kernels, served.host_s, served.decode_s, pair_s, {"prefill": prompt_errors})


def _time_fit(
    kernels: Kernels, host_s: float, decode_s: float, pair_s: float, errors: dict[str, list[float]]
) -> TimeFit:
    token_s, share = kernels.token_s().tolist(), kernels.token_memory_share().tolist()
    return TimeFit(host_s, token_s, share, decode_s, _context_s(kernels), pair_s, errors)


def _context_s(kernels: Kernels) -> float:
    least_s = bounds_s(kernels.gpu, kernels.model, kernels.tp).context_s
    return max(kernels.decode_attention_s()[1], least_s)


def _fit_decode(
    rows: pd.DataFrame, token_s: np.ndarray, context_s: float, pair_s: float
) -> tuple[tuple[float, float], dict[str, list[float]]]:
    """Host and decode by least squares of relative error over medians; the means, with their prefills, are a check."""
    rare = rows[rows.prefills < RARE_PREFILLS]
    batch, median_s = rare.avg_batch_size.to_numpy(), rare.median_itl_ms.to_numpy() / 1e3
    known_s = context_s * rare.context.to_numpy() + at_tokens(token_s, batch)
    columns = np.column_stack([np.ones_like(batch), batch]) / median_s[:, None]
    scale = np.array([1e-3, 1e-5])
    solved = lsq_linear(columns * scale, (median_s - known_s) / median_s, bounds=(0.0, np.inf))
    host_s, decode_s = (solved.x * scale).tolist()

    def error(step_s: np.ndarray, batch: np.ndarray, measured_s: np.ndarray) -> list[float]:
        errors: list[float] = ((host_s + decode_s * batch + step_s) / measured_s - 1.0).tolist()
        return errors

    every, prefills = rows.avg_batch_size.to_numpy(), rows.prefills.to_numpy()
    mean_s = context_s * rows.context.to_numpy() + prefills * pair_s * pairs(PROMPT_TOKENS)
    mean_s = mean_s + mean_over_prompts(lambda tokens: at_tokens(token_s, tokens), every, PROMPT_TOKENS, prefills)
    errors = {
        "decode_step": error(known_s, batch, median_s),
        "mean_iteration": error(mean_s, every, rows.mean_s.to_numpy()),
    }
    return (host_s, decode_s), errors
