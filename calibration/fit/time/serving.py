"""Decode coefficients from serving runs: vLLM on single-turn chat, ML.ENERGY v3.

Each run keeps `avg_batch_size` sequences busy. Its *median* inter-token latency is an iteration without prefill, as
long as prefills are rare: host_s and decode_s are fitted to it by least squares of relative error. Its *mean*, batch
over throughput, holds the prefills too and is a check. What a run does not say is assumed (`fit.serving_runs`).
"""

from __future__ import annotations

import pandas as pd

from calibration.excerpts import table
from calibration.fit.iterations import mean_over_prompts
from calibration.fit.serving_runs import CHAT, PROMPT_TOKENS, decodes, described, has_memory
from calibration.fit.time.kernels import Kernels, fit_prefill_attention
from calibration.fit.time.time_fit import TimeFit, fit_host_and_sequence
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.layers.iteration import at_tokens, prefill_pairs
from tokenfleet.envs.layers.llm import bounds_s


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
    rows: pd.DataFrame, token_s: Array, context_s: float, pair_s: float
) -> tuple[tuple[float, float], dict[str, list[float]]]:
    """Host and decode fitted to the medians; the means, with their prefills, are a check."""
    read_s = context_s * (rows.avg_batch_size * rows.context).to_numpy()
    batch, prompts = rows.avg_batch_size.to_numpy(), rows.prompts.to_numpy()
    steps, median_s = decodes(rows).to_numpy(), rows.median_itl_ms.to_numpy() / 1e3
    known_s = read_s + at_tokens(token_s, batch)
    host_s, decode_s = fit_host_and_sequence(batch[steps], known_s[steps], median_s[steps])
    served_s = host_s + decode_s * batch
    tokens_s = mean_over_prompts(lambda tokens: at_tokens(token_s, tokens), batch, PROMPT_TOKENS[CHAT], prompts)
    mean_s = served_s + read_s + tokens_s + prompts * pair_s * prefill_pairs(0, PROMPT_TOKENS[CHAT])
    errors = {
        "decode_step": relative_errors(served_s + known_s, median_s)[steps].tolist(),
        "mean_iteration": relative_errors(mean_s, rows.mean_s).tolist(),
    }
    return (host_s, decode_s), errors
