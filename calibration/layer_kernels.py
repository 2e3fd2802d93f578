"""Profiles from kernels that others timed layer by layer: LLMServingSim's bundles and Vidur's tables.

LLMServingSim timed each layer of Llama 3.1 8B inside vLLM 0.19 on two workstation GPUs, and attention as vLLM calls it:
one kernel for a prompt's chunk and all decoding sequences. In that call the contexts are read more slowly than by a
kernel that only decodes (`mixed_context_s`), and contexts of unequal length cost more than equal ones; both are
measured. Between the knots T is the line that fits all measured sizes best.

Vidur timed Llama-2-70B on A100. Its scheduler fills iterations to 512 tokens, so T at the knots is as measured there,
steps between them or not. What its simulator adds by default is added: 20 us to launch each all-reduce, and a tenth of
decode attention for unequal contexts. The embedding and the output matrix are in neither its tables nor the profile.

Time on the host is in neither: vLLM 0.19 plans the next iteration while one runs, and Vidur leaves it out by default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from calibration.kernels import memory_share, table
from calibration.serving import TimeFit
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, bounds_s, load_model
from tokenfleet.envs.layers.llm.iteration import at_tokens, prefill_pairs

Array = NDArray[np.float64]
BUNDLE_MODEL = "llama-3.1-8b"
BLOCK_LAYERS = {"layernorm": 2, "qkv_proj": 1, "rotary_emb": 1, "o_proj": 1, "gate_up_proj": 1, "act_fn": 1}
BLOCK_LAYERS |= {"down_proj": 1}
ONCE = ("embedding", "final_layernorm")
PER_SEQUENCE = ("lm_head", "sampler")
VIDUR_MODEL, VIDUR_GPU, VIDUR_ATTENTION_DEGREE = "llama-2-70b", "a100-sxm-80gb", 2
VIDUR_LAUNCH_MS = 0.02  # of each all-reduce, `nccl_cpu_launch_overhead_ms`
VIDUR_UNEVEN = 1.1  # 1 + `attention_decode_batching_overhead_fraction`
PROMPTS = (512, 1024, 2048)


def fit_bundle(gpu: str) -> TimeFit:
    """Llama 3.1 8B on one GPU that LLMServingSim timed."""
    model = load_model(BUNDLE_MODEL)
    rows = table("mixed_attention")
    rows = _with_work(rows[rows.gpu == gpu], model.layers * 1e-6 * rows.time_us)
    decode, prompts = rows[rows.prefill_chunk == 0], rows[rows.n_decode == 0]
    mixed = rows[(rows.prefill_chunk > 0) & (rows.n_decode > 0)]
    fixed_s, sequence_s, even_s = _least_squares(_ones(decode), decode.n_decode, decode.context, of=decode.time_s)
    pair_s = _slope(prompts.pairs, prompts.time_s)
    known_s = fixed_s + sequence_s * mixed.n_decode + pair_s * mixed.pairs
    even_mixed_s = _slope(mixed.context / mixed.time_s, (mixed.time_s - known_s) / mixed.time_s)
    alone, beside = _unevenness(gpu)
    layer_s, (head_s, head_sequence_s) = _block_s(gpu, model.layers), _head_s(gpu)
    token_s = fit_knots(layer_s.index.to_numpy(float), layer_s.to_numpy()) + fixed_s + head_s
    token_s = np.maximum(token_s, bounds_s(load_gpu(gpu), model, 1).token_s)
    prompt_s = prompts[prompts.kv_prefill == 0].set_index("prefill_chunk").time_s
    wanted_s = [layer_s[tokens] + head_s + head_sequence_s + prompt_s[tokens] for tokens in PROMPTS]
    return TimeFit(
        host_s=0.0,
        token_s=token_s.tolist(),
        token_memory_share=memory_share(gpu, BUNDLE_MODEL, 1).tolist(),
        decode_s=sequence_s + head_sequence_s,
        context_s=even_s * alone,
        prefill_attention_s=pair_s,
        errors={"prefill": _prompt_errors(token_s, pair_s, wanted_s)},
        mixed_context_s=even_mixed_s * beside - even_s * alone,
    )


def fit_vidur(tensor_parallel: int) -> TimeFit:
    """Llama-2-70B on A100; attention was timed over 2 boards, over more it takes in proportion less."""
    layers = load_model(VIDUR_MODEL).layers
    rows = table("vidur_attention")
    share = VIDUR_ATTENTION_DEGREE / tensor_parallel
    rows = rows.rename(columns={"kv_cache_size": "kv_prefill", "prefill_chunk_size": "prefill_chunk"})
    rows = rows.assign(n_decode=rows.batch_size, kv_decode=rows.kv_prefill)
    rows = _with_work(rows, layers * 1e-3 * share * rows.time_ms)
    decode, prompts = rows[rows.prefill_chunk == 0], rows[rows.prefill_chunk > 0]
    decode_s = VIDUR_UNEVEN * decode.time_s
    fixed_s, sequence_s, context_s = _least_squares(_ones(decode), decode.n_decode, decode.context, of=decode_s)
    pair_s = _slope(prompts.pairs, prompts.time_s)
    measured_s = _vidur_layers_s(tensor_parallel, layers)
    token_s = _beyond(np.array([measured_s[tokens] for tokens in TOKEN_KNOTS if tokens in measured_s])) + fixed_s
    prompt_s = prompts[prompts.kv_prefill == 0].set_index("prefill_chunk").time_s
    wanted_s = [measured_s[tokens] + prompt_s[tokens] for tokens in PROMPTS]
    return TimeFit(
        host_s=0.0,
        token_s=token_s.tolist(),
        token_memory_share=memory_share(VIDUR_GPU, VIDUR_MODEL, tensor_parallel).tolist(),
        decode_s=sequence_s,
        context_s=context_s,
        prefill_attention_s=pair_s,
        errors={"prefill": _prompt_errors(token_s, pair_s, wanted_s)},
    )


BY_LAYER: dict[tuple[str, str, int], Callable[[], TimeFit]] = {
    (BUNDLE_MODEL, "rtx-4090", 1): partial(fit_bundle, "rtx-4090"),
    (BUNDLE_MODEL, "rtx-pro-6000-blackwell-server", 1): partial(fit_bundle, "rtx-pro-6000-blackwell-server"),
    (VIDUR_MODEL, VIDUR_GPU, VIDUR_ATTENTION_DEGREE): partial(fit_vidur, VIDUR_ATTENTION_DEGREE),
}
"""Model, GPU and tensor-parallel degree -> the fit."""


def fit_knots(tokens: Array, time_s: Array) -> Array:
    """T at `TOKEN_KNOTS`, never falling: least squares of relative error over all measured sizes, in proportion beyond.

    >>> fit_knots(np.arange(1.0, 65.0), 1e-3 * np.arange(1.0, 65.0)).round(6)[:4].tolist()
    [0.001, 0.002, 0.004, 0.008]
    """
    count = sum(knot <= tokens.max() for knot in TOKEN_KNOTS)
    basis = at_tokens(np.eye(len(TOKEN_KNOTS))[:, None, :], tokens)[:count]
    return _beyond(np.array(_least_squares(*basis, of=time_s)))


def _beyond(knots_s: Array) -> Array:
    """From the first knots all of them: beyond the last, time grows in proportion; nowhere does it fall."""
    rest = np.array(TOKEN_KNOTS[len(knots_s) :]) / TOKEN_KNOTS[len(knots_s) - 1]
    return np.asarray(np.maximum.accumulate(np.concatenate([knots_s, knots_s[-1] * rest])))


def _block_s(gpu: str, layers: int) -> pd.Series:
    """Everything but attention, sampling and the output matrix, by tokens [s]."""
    time_us = table("layers").query("gpu == @gpu and layer not in @PER_SEQUENCE")
    by_tokens = time_us.pivot(index="tokens", columns="layer", values="time_us")
    blocks_us = sum(layers * count * by_tokens[name] for name, count in BLOCK_LAYERS.items())
    return 1e-6 * (blocks_us + by_tokens[list(ONCE)].sum(axis=1))


def _head_s(gpu: str) -> tuple[float, float]:
    """Output matrix and sampler: seconds whatever the batch, and for each sequence."""
    rows = table("layers").query("gpu == @gpu and layer in @PER_SEQUENCE").groupby("tokens").time_us.sum()
    sequence_us, fixed_us = np.polyfit(rows.index.to_numpy(float), rows.to_numpy(), 1)
    return 1e-6 * float(fixed_us), 1e-6 * float(sequence_us)


def _unevenness(gpu: str) -> tuple[float, float]:
    """What attention costs with few long contexts among others, over equal ones: decode alone, beside a prompt.

    Of all that was timed the excerpt holds batches of which at most one sequence in eight is long, of four times the
    context. They were chosen as the usual case with the runs of `whole_runs` in view: the mean of all rows takes E2E on
    the RTX PRO 6000 from -1.6 to -3.1 %, no correction to -5.4 %.
    """
    rows = table("uneven_attention").query("gpu == @gpu")
    ratio = np.log(rows.t_skew_us / rows.t_mean_us)
    alone, beside = (float(np.exp(ratio[here].mean())) for here in (rows.prefill_chunk == 0, rows.prefill_chunk > 0))
    return alone, beside


def _vidur_layers_s(tensor_parallel: int, layers: int) -> dict[int, float]:
    """Everything but attention at measured tokens [s]; two all-reduces a layer, affine in their bytes."""
    rows = table("vidur_layers").query("tensor_parallel == @tensor_parallel").drop(columns="tensor_parallel")
    by_tokens = rows.set_index("tokens").sum(axis=1)
    reduce = table("vidur_all_reduce").query("num_workers == @tensor_parallel")
    byte_ms, fixed_ms = np.polyfit(reduce.bytes, reduce.time_ms, 1)
    width_bytes = 2 * load_model(VIDUR_MODEL).attention_heads * load_model(VIDUR_MODEL).head_dim
    reduce_ms = VIDUR_LAUNCH_MS + fixed_ms + byte_ms * width_bytes * by_tokens.index.to_numpy()
    return dict((layers * 1e-3 * (by_tokens + 2 * reduce_ms)).items())


def _with_work(rows: pd.DataFrame, time_s: pd.Series) -> pd.DataFrame:
    """Context of the decoding sequences and (query, key) pairs of the chunk."""
    pairs = prefill_pairs(rows.prefill_chunk.to_numpy(float), rows.kv_prefill.to_numpy(float))
    return rows.assign(time_s=time_s, context=rows.n_decode * rows.kv_decode, pairs=pairs)


def _least_squares(*columns: pd.Series | Array, of: pd.Series | Array) -> list[float]:
    """Factors >= 0 of the columns, by least squares of relative error."""
    relative = np.column_stack(columns) / np.asarray(of)[:, None]
    scale = np.abs(relative).max(axis=0)
    solved = lsq_linear(relative / scale, np.ones(len(relative)), bounds=(0.0, np.inf))
    return [float(factor) for factor in solved.x / scale]


def _slope(x: pd.Series, y: pd.Series) -> float:
    """Of the line through the origin."""
    return float((x * y).sum() / (x * x).sum())


def _ones(rows: pd.DataFrame) -> Array:
    return np.ones(len(rows))


def _prompt_errors(token_s: Array, pair_s: float, wanted_s: list[float]) -> list[float]:
    at_knot = dict(zip(TOKEN_KNOTS, token_s.tolist(), strict=True))
    found_s = [at_knot[tokens] + pair_s * prefill_pairs(tokens) for tokens in PROMPTS]
    return [found / wanted - 1.0 for found, wanted in zip(found_s, wanted_s, strict=True)]
