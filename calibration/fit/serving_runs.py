"""Serving runs of The ML.ENERGY Benchmark: what they do not say, and which of them a decode step can be read from.

Assumed are the prompts of each task and the context of a running sequence, prompt + a share of the mean output. The
numbers of chat are estimated, from Llama 3.1 on H100:

- the prompt, 250 tokens: what (mean - median) x iterations per request costs, 16 ms on 70B at TP 4 and 6 ms on 8B, over
  the 65 and 25 us per token of the kernels;
- the context, prompt + 0.87 x mean output: two runs fill their KV cache (8B at 691 and 70B at 898 sequences), which
  gives about 590 and 550 tokens once 10 % of the cache is left to activations and free blocks.

The other tasks have the sort of prompt that each asks with, and E[L^2] / (2 E[L]^2) of their outputs as a share, nearer
1/2 where all answers are long.
"""

from __future__ import annotations

import pandas as pd

from tokenfleet.envs.fitting.compare import RARE_PREFILLS

CHAT = "lm-arena-chat"
PROMPT_TOKENS = {CHAT: 250, "gpqa": 250, "sourcegraph-fim": 1200, "chat": 250, "code": 150}
CONTEXT_SHARE = {CHAT: 0.87, "gpqa": 0.62, "sourcegraph-fim": 0.87, "chat": 0.7, "code": 0.7}
GPU_NAMES = {
    "H100": "h100-sxm",
    "B200": "b200-sxm",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40gb",
}
LARGEST_BATCH = 512
FULL_SHARE = 0.95  # a run below this share of its batch limit is short of KV memory and preempts


def described(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what a run does not say and what follows from it.

    Args:
        rows: runs with their `task`.

    Returns:
        The runs with gpu (its name in the catalogue), mean_s (an iteration [s]), prompts (started per iteration), and
        of one sequence prompt and context [tokens].
    """
    prompt = rows.task.map(PROMPT_TOKENS)
    return rows.assign(
        gpu=rows.gpu_model.map(GPU_NAMES),
        mean_s=rows.avg_batch_size / rows.output_throughput_tokens_per_sec,
        prompts=rows.avg_batch_size / rows.avg_output_len,
        prompt=prompt,
        context=prompt + rows.task.map(CONTEXT_SHARE) * rows.avg_output_len,
    )


def decodes(rows: pd.DataFrame) -> pd.Series:
    """Whether the median inter-token latency of a run is a decode step: its prompts are rare."""
    return rows.prompts < RARE_PREFILLS


def has_memory(rows: pd.DataFrame) -> pd.Series:
    """Whether nearly all seats of a run are taken, and there are not too many of them."""
    return (rows.avg_batch_size >= FULL_SHARE * rows.max_num_seqs) & (rows.max_num_seqs <= LARGEST_BATCH)
