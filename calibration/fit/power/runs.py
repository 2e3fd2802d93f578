"""Serving runs as the laws of power see them: what a board moves and computes in an iteration, and its watts.

A run gives the mean power of its boards and, with its batch, throughput and model shape, the bytes and FLOPs that they
moved per second, prefill included:

- H100 and B200: ML.ENERGY v3, vLLM that keeps the GPU busy;
- H100 and A100 40 GB: ML.ENERGY v2, an earlier vLLM in which the GPU waits for its host most of the time (joules per
  request times requests per second);
- A100 80 GB: Splitwise, Llama-2-70B decoding.

What a run does not say is assumed (`fit.serving_runs`). Runs whose KV cache would not fit preempt and are left out.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.iterations import mean_over_prompts
from calibration.fit.serving_runs import described
from calibration.fit.shapes import DENSE, SHAPES, Shape
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm.work import EXPERT_TILE_ROWS

USABLE_MEMORY = 0.92
SPLITWISE_ANSWER = 128  # tokens generated in each of its runs


@cache
def runs(dense: bool = True) -> pd.DataFrame:
    """Every run with what a board moves and computes in an iteration, by `with_work`; treat it as read-only."""
    later, earlier = table("power_runs").assign(busy=True), table("power_runs_earlier").assign(busy=False)
    requests_per_s = earlier.output_throughput_tokens_per_sec / earlier.avg_output_len
    earlier = earlier.assign(avg_power_watts=earlier.joule_per_request * requests_per_s)
    rows = pd.concat([later, earlier.assign(tensor_parallel=earlier.num_gpus)], ignore_index=True)
    rows = described(rows[rows.model_id.isin(DENSE) == dense])
    rows = rows.assign(watts=rows.avg_power_watts / rows.num_gpus, prefill=rows.prompts * rows.prompt)
    return with_work(pd.concat([rows, _splitwise()] if dense else [rows], ignore_index=True))


def with_work(rows: pd.DataFrame) -> pd.DataFrame:
    """Add family and weight_bytes, context_bytes and flops of a board in an iteration, and drop runs that do not fit.

    Of them, padded_flops are of routed experts with fewer rows than a tile has, packed_bytes of experts in less than 8
    bits a weight, and fp8_bytes of experts in 8.
    """
    frames = []
    for model_id, group in rows.groupby("model_id"):
        shape = SHAPES[model_id]
        boards, tp = group.num_gpus.to_numpy(float), group.tensor_parallel.to_numpy(float)
        tokens = (group.avg_batch_size + group.prefill).to_numpy()
        experts = shape.expert_weights * touched_experts(shape, group)
        weights = shape.common_weights * shape.bytes_per_weight / tp
        attended = group.avg_batch_size * shape.attended(group.context.to_numpy())
        held_bytes = shape.kv_bytes_per_token * attended / boards + weights
        held_bytes += shape.expert_weights * shape.experts * shape.bytes_per_expert_weight / boards
        memory_bytes = group.gpu.map(lambda name: load_gpu(name).memory_bytes)
        expert_bytes = experts * shape.bytes_per_expert_weight / boards
        frames.append(
            group.assign(
                family=shape.family,
                weight_bytes=weights + expert_bytes,
                packed_bytes=expert_bytes * (shape.bytes_per_expert_weight < 1.0),
                fp8_bytes=expert_bytes * (shape.bytes_per_expert_weight == 1.0),
                context_bytes=shape.kv_bytes_per_token * attended / boards,
                flops=2.0 * (shape.common_weights + shape.expert_weights * shape.routed) * tokens / boards,
                padded_flops=2.0 * shape.expert_weights * shape.routed * _padded_tokens(shape, group) / boards,
            )[held_bytes < USABLE_MEMORY * memory_bytes]
        )
    return pd.concat(frames, ignore_index=True)


def touched_experts(shape: Shape, rows: pd.DataFrame) -> float | Array:
    """Experts of a layer that an iteration reads on average; one of the mean number of tokens would read far more."""
    if not shape.experts:
        return 0.0
    batch, prompt, prefill = (rows[name].to_numpy(float) for name in ("avg_batch_size", "prompt", "prefill"))
    return mean_over_prompts(shape.touched_experts, batch, prompt, prefill / prompt)


def _padded_tokens(shape: Shape, rows: pd.DataFrame) -> float | Array:
    """Tokens of an iteration, on average, as far as they leave experts with fewer rows than a tile has."""
    if not shape.experts:
        return 0.0
    batch, prompt, prefill = (rows[name].to_numpy(float) for name in ("avg_batch_size", "prompt", "prefill"))
    most = EXPERT_TILE_ROWS * shape.experts / shape.routed
    return mean_over_prompts(lambda tokens: np.minimum(tokens, most), batch, prompt, prefill / prompt)


def _splitwise() -> pd.DataFrame:
    """Splitwise's A100 80 GB: TP 2 and 4, one to 16 sequences of up to 2048 tokens; TP 8 waits for its host."""
    rows = table("splitwise")
    rows = rows[(rows.hardware == "a100-80gb") & rows.tensor_parallel.isin([2, 4]) & rows.average_power.notna()]
    rows = rows[rows.prompt_size <= 2048]
    return pd.DataFrame(
        {
            "model_id": "llama2-70b",
            "task": "decode",
            "gpu": "a100-sxm-80gb",
            "busy": True,
            "num_gpus": rows.tensor_parallel,
            "tensor_parallel": rows.tensor_parallel,
            "avg_batch_size": rows.batch_size,
            "prefill": 0.0,
            "context": rows.prompt_size + SPLITWISE_ANSWER / 2,
            "mean_s": rows.token_time * 1e-3,
            "watts": rows.average_power * load_gpu("a100-sxm-80gb").tdp_w,
        }
    )
