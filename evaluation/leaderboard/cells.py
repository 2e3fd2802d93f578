"""Results of policies in some episodes of a scenario, from a file where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.learned.identity import policy_hash
from tokenfleet.policies.registry import Choice

VALIDATION_SEED = 1_000
"""Of the validation episodes by which rules are chosen; searches choose by others."""
CHOICE_SEED, CHOICE_TIMES = 2_000, 3
"""Of the episodes by which methods are chosen, and how many times as many they are. In a week with scarce hours some
episodes are ten times as dear as others, and a choice by few episodes is chance."""


@dataclass(frozen=True)
class CellMeasurement:
    """What a policy comes to in some episodes, by direct actions; see `measure_cell`."""

    scenario: Scenario
    episodes: int
    seed: int
    split: Split

    def __call__(self, policy: Choice | Path) -> dict[str, Any]:
        """The cell of a policy as the registry takes it, or of a folder of a checkpoint."""
        return measure_cell(self.scenario, policy, self.episodes, self.seed, self.split)


@dataclass(frozen=True)
class Cells:
    """Cells of the same episodes, on file.

    Attributes:
        cell: measures one.
        prefix: of their names in the file.
        record: the file.
        workers: that run episodes.
        say: told what begins.
    """

    cell: CellMeasurement
    prefix: str
    record: MeasurementFile
    workers: Workers
    say: Callable[[str], None]

    def measured(self, policies: Mapping[str, Choice | Path]) -> dict[str, dict[str, Any]]:
        """The cells by name; as many at once as there are workers."""
        known = set(self.record.names())
        on_file = {name: self._on_file(name, policy) for name, policy in policies.items()}
        missing = [name for name in policies if on_file[name] not in known]
        for first in range(0, len(missing), self.workers.count):
            some = missing[first : first + self.workers.count]
            self.say(", ".join(some))
            for name, done in zip(some, self.workers.map(self.cell, [policies[one] for one in some]), strict=True):
                self.record.keep(on_file[name], done)
        return {name: self.record.measured(on_file[name]) for name in policies}

    def _on_file(self, name: str, policy: Choice | Path) -> str:
        """Name of a cell in the file; what was trained or tuned anew is measured anew."""
        return f"{self.prefix}{name}" + ("" if isinstance(policy, str) else f"@{policy_hash(policy)}")


def validation_cells(
    scenario: Scenario, episodes: int, record: MeasurementFile, workers: Workers, say: Callable[[str], None]
) -> Cells:
    """Of the validation episodes by which rules are chosen."""
    return Cells(
        CellMeasurement(scenario, episodes, VALIDATION_SEED, "validation"), "validation/", record, workers, say
    )


def choosing_cells(
    scenario: Scenario, episodes: int, record: MeasurementFile, workers: Workers, say: Callable[[str], None]
) -> Cells:
    """Of the validation episodes by which a method is chosen, `CHOICE_TIMES` times as many."""
    cell = CellMeasurement(scenario, CHOICE_TIMES * episodes, CHOICE_SEED, "validation")
    return Cells(cell, "choice/", record, workers, say)
