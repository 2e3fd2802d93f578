"""What runs were measured on."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm import ModelSpec, Parallelism

# vLLM's default for serving on the H100 and other boards of 70 GiB and more; on the A100 and smaller boards it is 2048.
TOKEN_BUDGET = 8192


@dataclass(frozen=True)
class Bench:
    """A model on boards of a GPU, which compute at most `token_budget` tokens an iteration.

    Attributes:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it; a number is tensor parallelism alone.
        token_budget: tokens.
    """

    gpu: GpuSpec
    model: ModelSpec
    parallelism: Parallelism | int
    token_budget: int

    @property
    def boards(self) -> int:
        """Boards of a replica."""
        return Parallelism.of(self.parallelism).boards
