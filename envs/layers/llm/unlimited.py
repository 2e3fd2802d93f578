"""Layer 4, times without a power limit: what a board would take if it held its highest clock.

Kernels and servers are measured on boards under their rated limit. Large products therefore run, and are timed, at a
lower clock than the one asked for. A profile states its times at the highest clock. The law of an iteration lowers the
clock again where the limit binds, so a prompt at the rated limit takes the measured time, and under a lower limit more.
"""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs, unlimited_time_s
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.profile import KNOTS, ProfileSpec, bounds_s

RATED_LIMIT_FRACTION = 0.985
"""Share of `tdp_w` that boards hold without a cap (aiconfigurator: large matrix products)."""
ATTENTION_KNOT = 12  # a prompt of 4096 tokens, whose clock attention is taken to run at
ROUNDS = 12  # each comes closer by what a longer time takes off the clock, a third or so


def without_limit(profile: ProfileSpec, gpu: GpuSpec, model: ModelSpec) -> ProfileSpec:
    """A profile of times at the highest clock from one of times as measured on boards that keep their rated limit.

    Args:
        profile: as measured; it never beats the physical bound, nor does the result.
        gpu: its board, which may be capped below its rating.
        model: its model.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> a100, llama = gpu.load_gpu("a100-sxm-80gb"), llm.load_model("llama-3.1-8b")
    >>> measured = llm.load_profile("llama-3.1-8b", "a100-sxm-80gb", 1)
    >>> without_limit(measured, a100, llama).token_s[-1] < measured.token_s[-1]
    True
    """
    rated = gpu.model_copy(update={"limit_fraction": max(gpu.limit_fraction, RATED_LIMIT_FRACTION)})
    least, measured_s = bounds_s(gpu, model, profile.parallelism), np.array(profile.token_s)
    prompts = Batch(np.zeros_like(KNOTS), np.zeros_like(KNOTS), KNOTS, prefill_pairs(KNOTS))
    wanted_s = unlimited_time_s(profile, prompts)
    speedup = np.ones_like(KNOTS)
    faster = profile
    for _ in range(ROUNDS):
        law = Coefficients.of(rated, model, faster)
        speedup *= iteration_time_s(law.at_clock(1.0), prompts) / wanted_s
        token_s = np.maximum.accumulate(np.maximum(measured_s / speedup, least.token_s))
        pair_s = max(profile.prefill_attention_s / speedup[ATTENTION_KNOT], least.prefill_attention_s)
        faster = profile.model_copy(update={"token_s": tuple(token_s.tolist()), "prefill_attention_s": float(pair_s)})
    return faster
