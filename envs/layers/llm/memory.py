"""Layer 4, memory: space for the KV cache on a replica's boards, as vLLM's start-up profiling finds it.

A server may use a share of each board's memory (`gpu_memory_utilization`). Weights, CUDA graphs and the libraries' own
memory come out of this share. So does the peak of a run of the largest batch, which vLLM measures when it starts. The
peak is the activations of `token_budget` tokens or the logits of `max_batch` sequences with the sampler's copies,
whichever is more: activations are freed before the logits are there. The rest is the KV cache.

In a model with sliding windows all layers fill the cache: vLLM hands out blocks to groups of as many layers each, and
the size that vLLM logs counts all of them. So does this module. It ignores that windowed layers need less for a context
longer than their window.

References:
    vLLM, `gpu_worker.determine_available_memory` and `gpu_model_runner.profile_run`; "Hybrid KV Cache Manager",
    docs.vllm.ai.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.spec import SpecError

ACTIVATION_BYTES = 2.0  # of one number, bf16
SAMPLER_BYTES = 26.0
"""Of each logit, at the peak of a top-p sampler: bf16, fp32, sorted, their indices in 64 bits, softmax, running sum."""
LIBRARY_BYTES = 0.84e9
"""CUDA graphs and what libraries hold, on each board: the rest after all else for Llama 3.1 8B on an RTX 4090; vLLM
0.19 logs 41,408 tokens of KV cache there (LLMServingSim's run)."""


@dataclass(frozen=True)
class LargestBatch:
    """What a server keeps memory for when it starts.

    Attributes:
        token_budget: most tokens of an iteration, vLLM's `max_num_batched_tokens`.
        max_batch: most sequences, vLLM's `max_num_seqs`.
    """

    token_budget: int
    max_batch: int


def kv_capacity_tokens(
    gpu: GpuSpec,
    model: ModelSpec,
    parallelism: Parallelism | int,
    memory_utilisation: float = 0.9,
    largest_batch: LargestBatch | None = None,
) -> int:
    """Tokens of KV cache that fit on the boards of a replica [tokens].

    Args:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it; a number is tensor parallelism alone. Each group of data
            parallelism holds all that is not routed, and has memory for its share of the largest batch.
        memory_utilisation: share of device memory that the server may use; vLLM's default is 0.9.
        largest_batch: what the server keeps memory for; without it, only the weights: an upper bound.

    Raises:
        SpecError: the model does not fit; without data parallelism the message says how many GPUs it needs.

    >>> from tokenfleet.envs.layers.gpu import load_gpu
    >>> from tokenfleet.envs.layers.llm import load_model
    >>> pair = load_gpu("rtx-4090"), load_model("llama-3.1-8b")
    >>> kv_capacity_tokens(*pair, 1), kv_capacity_tokens(*pair, 1, largest_batch=LargestBatch(2048, 256))
    (54347, 41426)
    """
    shared, usable_bytes = Parallelism.of(parallelism), gpu.memory_bytes * memory_utilisation
    if largest_batch is not None:
        usable_bytes -= workspace_bytes(model, shared, largest_batch)
    token_bytes = (model.kv_bytes_per_token + model.window_kv_bytes_per_token) * model.kv_copies(shared.tensor)
    held_bytes = model.weight_bytes + (shared.data - 1) * model.common_weight_bytes
    needed_bytes = held_bytes + token_bytes
    if shared.boards * usable_bytes < needed_bytes:
        needed = math.ceil(needed_bytes / usable_bytes) if usable_bytes > 0 else 0
        fits = f"; it needs at least {needed}" if needed and shared.data == 1 else ""
        size = f"{held_bytes / 1e9:.1f} GB of weights"
        raise SpecError([f"{model.name} ({size}) does not fit on {shared.boards} x {gpu.name}{fits}"])
    return int((shared.boards * usable_bytes - held_bytes) // token_bytes)


def workspace_bytes(model: ModelSpec, parallelism: Parallelism | int, largest_batch: LargestBatch) -> float:
    """What a server takes of each board's memory beside weights and KV cache [bytes]."""
    shared, (whole, split) = Parallelism.of(parallelism), model.activation_values_per_token
    activations = largest_batch.token_budget / shared.data * (whole + split / shared.tensor) * ACTIVATION_BYTES
    logits = largest_batch.max_batch / shared.data * model.vocabulary * SAMPLER_BYTES
    return LIBRARY_BYTES + max(activations, logits)
