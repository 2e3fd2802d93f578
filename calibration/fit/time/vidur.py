"""Profiles from kernels that Vidur timed: Llama-2-70B, layer by layer, on A100.

Its scheduler fills iterations to 512 tokens, so T at the knots is as measured there, steps between them or not. What
its simulator adds by default is added: 20 us to launch each all-reduce, and a tenth of decode attention for unequal
contexts. The embedding and the output matrix are in neither its tables nor the profile, and by its default neither is
time on the host.
"""

from __future__ import annotations

import numpy as np

from calibration.excerpts import table
from calibration.fit.time.attention import fit_decode, fit_pairs, whole_prompts_s, with_work
from calibration.fit.time.kernels import bound_share
from calibration.fit.time.time_fit import TimeFit, prompt_errors
from tokenfleet.envs.fitting.knots import extended
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, load_model

MODEL, GPU = "llama-2-70b", "a100-sxm-80gb"
ATTENTION_DEGREE = 2  # boards over which attention was timed
LAUNCH_MS = 0.02  # of each all-reduce, `nccl_cpu_launch_overhead_ms`
UNEVEN = 1.1  # 1 + `attention_decode_batching_overhead_fraction`
PROMPTS = (512, 1024, 2048)


def fit_vidur(tensor_parallel: int) -> TimeFit:
    """Llama-2-70B on A100; attention was timed over 2 boards, over more it takes in proportion less."""
    layers = load_model(MODEL).layers
    rows = table("vidur_attention")
    share = ATTENTION_DEGREE / tensor_parallel
    rows = rows.rename(columns={"kv_cache_size": "kv_prefill", "prefill_chunk_size": "prefill_chunk"})
    rows = rows.assign(n_decode=rows.batch_size, kv_decode=rows.kv_prefill)
    rows = with_work(rows, layers * 1e-3 * share * rows.time_ms)
    decode, prompts = rows[rows.prefill_chunk == 0], rows[rows.prefill_chunk > 0]
    fixed_s, sequence_s, context_s = fit_decode(decode.assign(time_s=UNEVEN * decode.time_s))
    pair_s = fit_pairs(prompts)
    measured_s = _layers_s(tensor_parallel, layers)
    token_s = extended(np.array([measured_s[tokens] for tokens in TOKEN_KNOTS if tokens in measured_s])) + fixed_s
    prompt_s = whole_prompts_s(prompts)
    wanted_s = {tokens: measured_s[tokens] + prompt_s[tokens] for tokens in PROMPTS}
    return TimeFit(
        host_s=0.0,
        token_s=token_s.tolist(),
        token_memory_share=bound_share(GPU, MODEL, tensor_parallel).tolist(),
        decode_s=sequence_s,
        context_s=context_s,
        prefill_attention_s=pair_s,
        errors={"prefill": prompt_errors(token_s, pair_s, wanted_s)},
    )


def _layers_s(tensor_parallel: int, layers: int) -> dict[int, float]:
    """Everything but attention at measured tokens [s]; two all-reduces a layer, affine in their bytes."""
    rows = table("vidur_layers").query("tensor_parallel == @tensor_parallel").drop(columns="tensor_parallel")
    by_tokens = rows.set_index("tokens").sum(axis=1)
    reduce = table("vidur_all_reduce").query("num_workers == @tensor_parallel")
    byte_ms, fixed_ms = np.polyfit(reduce.bytes, reduce.time_ms, 1)
    width_bytes = 2 * load_model(MODEL).attention_heads * load_model(MODEL).head_dim
    reduce_ms = LAUNCH_MS + fixed_ms + byte_ms * width_bytes * by_tokens.index.to_numpy()
    return dict((layers * 1e-3 * (by_tokens + 2 * reduce_ms)).items())
