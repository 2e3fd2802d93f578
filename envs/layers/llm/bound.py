"""Layer 4, the least time of an iteration by physics, whatever the software."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec, Number
from tokenfleet.envs.layers.llm.iteration import Batch, at_tokens
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.profile import KNOTS


def physical_bound_s(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism | int, batch: Batch[Number]) -> Number:
    """No iteration can be faster: max(FLOPs / peak rate, bytes / peak bandwidth), at full clock [s].

    Args:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it; a number is tensor parallelism alone.
        batch: what the iteration works on.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> h100, llama = gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b")
    >>> round(1e3 * physical_bound_s(h100, llama, 1, Batch(0.0, 0.0, 4096.0, 0.0)), 1)
    62.1
    """
    flops = model.flops_per_token * batch.tokens + model.attention_flops_per_pair * (batch.pairs + batch.context)
    shared = Parallelism.of(parallelism)
    read_bytes = at_tokens(model.weight_bytes_read(KNOTS, shared.data), batch.tokens)
    context_bytes = model.kv_copies(shared.tensor) * batch.context + batch.tokens
    moved_bytes = read_bytes + model.kv_bytes_per_token * context_bytes
    compute_s = flops / (shared.boards * gpu.peak_flops(model.arithmetic))
    memory_s = moved_bytes / (shared.boards * gpu.memory_bandwidth_bytes_per_s)
    if isinstance(compute_s, np.ndarray):
        return np.maximum(compute_s, memory_s)
    return max(compute_s, memory_s)
