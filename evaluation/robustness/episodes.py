"""What a policy earns in test episodes; not in `__main__`, since worker processes import nothing from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.protocol import Protocol


@dataclass(frozen=True)
class ShiftedEpisodes:
    """The first test episodes of a protocol.

    Attributes:
        protocol: says which they are.
        episodes: how many.
    """

    protocol: Protocol
    episodes: int

    def __call__(self, task: tuple[Scenario, str]) -> dict[str, Any]:
        """The cell of a policy, by name, in a scenario, shifted or not."""
        scenario, policy = task
        return measure_cell(scenario, policy, self.episodes, self.protocol.seed, self.protocol.split)
