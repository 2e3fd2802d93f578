"""Decode coefficients from serving runs: vLLM on single-turn chat, ML.ENERGY v3.

Each run keeps `avg_batch_size` sequences busy. Its *median* inter-token latency is an iteration without prefill, as
long as prefills are rare: host_s and decode_s are fitted to it by least squares of relative error. Its *mean*, batch
over throughput, holds the prefills too and is a check. What a run does not say is assumed (`fit.serving_runs`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.iterations import mean_over_prompts
from calibration.fit.serving_runs import CHAT, PROMPT_TOKENS, decodes, described, has_memory
from calibration.fit.time.kernels import Kernels, fit_prefill_attention
from calibration.fit.time.time_fit import TimeFit, fit_host_and_sequence
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.layers.llm import bounds_s
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs


def runs(model: str, gpu: str, tensor_parallel: int) -> pd.DataFrame:
    """The runs of a pair that the GPU limits: those before throughput first falls with batch, not short of memory."""
    rows = described(table("serving_runs").assign(task=CHAT))
    suffix = model.removeprefix("llama-").upper()
    mine = rows.model_id.str.contains(f"Llama-{suffix}-", regex=False) & (rows.gpu == gpu)
    rows = rows[mine & (rows.num_gpus == tensor_parallel)].sort_values("max_num_seqs")
    falls = rows.output_throughput_tokens_per_sec.diff() < 0
    return rows[~falls.cummax() & has_memory(rows)]


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


def decode_batches(rows: pd.DataFrame) -> Batch[Array]:
    """What the decode step of each run works on."""
    batch = rows.avg_batch_size.to_numpy()
    nothing = np.zeros_like(batch)
    return Batch(batch, batch * rows.context.to_numpy(), nothing, nothing)


def _fit_decode(rows: pd.DataFrame, kernels: TimeFit) -> TimeFit:
    """Host and decode fitted to the medians; the means, with their prefills, are a check."""
    rare = rows[decodes(rows)]
    steps, median_s = decode_batches(rare), rare.median_itl_ms.to_numpy() / 1e3
    host_s, decode_s = fit_host_and_sequence(steps.decoding, iteration_time_s(kernels, steps), median_s)
    fit = replace(kernels, host_s=host_s, decode_s=decode_s)
    errors = {
        "decode_step": relative_errors(iteration_time_s(fit, steps), median_s).tolist(),
        "mean_iteration": relative_errors(_mean_iteration_s(fit, rows), rows.mean_s).tolist(),
        **kernels.errors,
    }
    return replace(fit, errors=errors)


def _mean_iteration_s(fit: TimeFit, rows: pd.DataFrame) -> Array:
    """The mean iteration of each run, prompts included [s]."""
    steps, prompts = decode_batches(rows), rows.prompts.to_numpy()
    decoding, context = steps.decoding[:, None], steps.context[:, None]
    pairs = prompts[:, None] * prefill_pairs(PROMPT_TOKENS[CHAT])

    def time_s(tokens: Array) -> Array:
        return iteration_time_s(fit, Batch(decoding, context, tokens - decoding, pairs))

    return mean_over_prompts(time_s, steps.decoding, PROMPT_TOKENS[CHAT], prompts)
