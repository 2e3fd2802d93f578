"""Standings on file: a page of all scenarios can be written where one of them was measured anew.

A standing holds for the scenario, the budget and the protocol that it was measured with; another one is not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.standings import Standing
from tokenfleet.evaluation.protocol import Protocol

FOLDER = "standings"
"""Inside of the folder of the docs: one file a scenario."""
_FILE = TypeAdapter(tuple[dict[str, Any], Standing])


class StandingFiles:
    """One JSON file a scenario: what it was measured with, and the standing.

    Args:
        docs: folder of the docs.
        budget: of each training.
        protocol: of the test episodes.
    """

    def __init__(self, docs: Path, budget: Budget, protocol: Protocol) -> None:
        self._folder, self._budget, self._protocol = docs / FOLDER, budget, protocol

    def keep(self, row: Standing, scenario: Scenario) -> None:
        """Put a standing on file.

        Raises:
            SpecError: the file cannot be written.
        """
        path = self._path(row.scenario)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, _FILE.dump_json((self._measured_with(scenario), row), indent=1) + b"\n")
        except OSError as error:
            raise SpecError([f"--docs: cannot write {path}: {error.strerror or error}"]) from None

    def rows(self, scenarios: Iterable[Scenario]) -> list[Standing]:
        """The standings of some scenarios that are on file and still hold.

        Raises:
            SpecError: a file is not one of a standing.
        """
        found = []
        for scenario in scenarios:
            if (path := self._path(scenario.name)).exists():
                measured_with, row = _read(path)
                found += [row] if measured_with == self._measured_with(scenario) else []
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _measured_with(self, scenario: Scenario) -> dict[str, Any]:
        return {"protocol": self._protocol.name, "config_hash": scenario_hash(scenario), **asdict(self._budget)}


def _read(path: Path) -> tuple[dict[str, Any], Standing]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except ValidationError as error:
        where = ".".join(str(key) for key in error.errors()[0]["loc"])
        problem = f"{path}: is no standing ({where}: {error.errors()[0]['msg']})"
        raise SpecError([f"{problem}; delete it and measure the scenario anew"]) from None
