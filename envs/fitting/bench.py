"""What runs were measured on."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm import ModelSpec

# vLLM's default for serving on the H100 and other boards of 70 GiB and more; on the A100 and smaller boards it is 2048.
TOKEN_BUDGET = 8192


@dataclass(frozen=True)
class Bench:
    """A model on `tensor_parallel` boards of a GPU, which computes at most `token_budget` tokens an iteration."""

    gpu: GpuSpec
    model: ModelSpec
    tensor_parallel: int
    token_budget: int
