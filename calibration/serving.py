"""Decode coefficients from serving runs: vLLM on single-turn chat, ML.ENERGY v3.

Each run keeps `avg_batch_size` sequences busy. Its *median* inter-token latency is an iteration without prefill, as
long as prefills are rare (fewer than 0.4 started per iteration); its *mean*, batch over throughput, holds the prefills
too. Both are fitted together by least squares of relative error. What a run does not say is estimated, once for all of
them:

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

from calibration.kernels import Kernels, fit_prefill, pairs, table
from tokenfleet.envs.layers.llm import coefficient_bounds_s

PROMPT_TOKENS = 250
GENERATED_SHARE = 0.87
GPU_NAMES = {"h100-sxm": "H100", "b200-sxm": "B200"}
LARGEST_BATCH = 512
FULL_SHARE = 0.95  # a run below this share of its batch limit is short of KV memory and preempts
RARE_PREFILLS = 0.4  # prefills started per iteration


@dataclass(frozen=True)
class TimeFit:
    """The five coefficients of a profile [s], and signed relative errors by name of the comparison."""

    t0_s: float
    decode_s: float
    context_s: float
    prefill_s: float
    prefill_attention_s: float
    errors: dict[str, list[float]]

    def coefficients(self) -> dict[str, float]:
        """Name -> seconds, in the order of the module's equation."""
        names = ("t0_s", "decode_s", "context_s", "prefill_s", "prefill_attention_s")
        return {name: getattr(self, name) for name in names}


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
    """t0 and decode from the runs; context and prefill from kernels, prefill given t0 (so twice in turn)."""
    kernels = Kernels(model, gpu, tensor_parallel)
    bounds_s = coefficient_bounds_s(kernels.gpu, kernels.model, tensor_parallel)
    context_s = max(kernels.decode_attention_s()[1], bounds_s["context_s"])
    t0_s, decode_s = kernels.fixed_s(), bounds_s["decode_s"]
    errors: dict[str, list[float]] = {}
    for _ in range(20):
        prefill_s, pair_s, prompt_errors = fit_prefill(kernels, t0_s, max(0.0, t0_s - kernels.fixed_s()))
        request_s = prefill_s * PROMPT_TOKENS + pair_s * pairs(PROMPT_TOKENS)
        lowest = np.array([bounds_s["t0_s"], bounds_s["decode_s"]])
        (t0_s, decode_s), errors = _fit_decode(runs(model, gpu, tensor_parallel), context_s, request_s, lowest)
        errors["prefill"] = list(prompt_errors.values())
    return TimeFit(t0_s, decode_s, context_s, prefill_s, pair_s, errors)


def fit_kernels(model: str, gpu: str, tensor_parallel: int, like: str) -> TimeFit:
    """A pair without serving runs: its own kernels, plus what serving adds to the kernels of the GPU `like`.

    What serving adds (host, scheduling, sampling, launches) is taken to be the same seconds on both GPUs: an
    assumption.
    """
    kernels, donor = Kernels(model, gpu, tensor_parallel), Kernels(model, like, tensor_parallel)
    bounds_s = coefficient_bounds_s(kernels.gpu, kernels.model, tensor_parallel)
    served = fit_measured(model, like, tensor_parallel)
    overhead_s = max(0.0, served.t0_s - donor.fixed_s())
    t0_s = kernels.fixed_s() + overhead_s
    decode_s = kernels.decode_slope_s() + max(0.0, served.decode_s - donor.decode_slope_s())
    context_s = max(kernels.decode_attention_s()[1], bounds_s["context_s"])
    prefill_s, pair_s, prompt_errors = fit_prefill(kernels, t0_s, overhead_s)
    return TimeFit(t0_s, decode_s, context_s, prefill_s, pair_s, {"prefill": list(prompt_errors.values())})


def _fit_decode(
    rows: pd.DataFrame, context_s: float, request_s: float, lowest: np.ndarray
) -> tuple[tuple[float, float], dict[str, list[float]]]:
    """t0 and decode by least squares of relative error over medians and means, above the physical bound."""
    rare = rows[rows.prefills < RARE_PREFILLS]
    measured = np.concatenate([rare.median_itl_ms / 1e3, rows.mean_s])
    batch = np.concatenate([rare.avg_batch_size, rows.avg_batch_size])
    known = context_s * np.concatenate([rare.context, rows.context])
    known[len(rare) :] += rows.prefills.to_numpy() * request_s
    columns = np.column_stack([np.ones_like(batch), batch]) * lowest / measured[:, None]
    solved = lsq_linear(columns, (measured - known) / measured, bounds=(1.0, np.inf))
    t0_s, decode_s = (solved.x * lowest).tolist()
    error = ((t0_s + decode_s * batch + known) / measured - 1.0).tolist()
    return (t0_s, decode_s), {"decode_step": error[: len(rare)], "mean_iteration": error[len(rare) :]}
