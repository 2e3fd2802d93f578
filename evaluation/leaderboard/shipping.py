"""The learned policy of a scenario as a file that `policies=` and `policy.base=` take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.learning import Learned
from tokenfleet.evaluation.screen.conclusions import CONSTANTS, FEEDBACK
from tokenfleet.policies.policy_files import SUFFIX, write_policy
from tokenfleet.policies.registry import Choice

CHECKED_EPISODES = 4
"""Validation episodes whose values the file holds, so that anyone can see whether the policy still plays as it did."""


def ship(scenario: Scenario, learned: Sequence[Learned], budget: Budget, folder: Path) -> None:
    """Write feedback and constants of the training seed that is best on validation.

    Feedback is written where it is what validation chose; a corrected rule is a checkpoint, and no such file.

    Args:
        scenario: that they are for.
        learned: what each training seed came to.
        budget: of each training.
        folder: gets `pretrained/SCENARIO.yaml` and `tuned/SCENARIO/constants.yaml`.

    Raises:
        SpecError: a file cannot be written.
    """
    places = {FEEDBACK: Path("pretrained", scenario.name), CONSTANTS: Path("tuned", scenario.name, "constants")}
    if all(one.best != FEEDBACK for one in learned):
        del places[FEEDBACK]
    for method, inside in places.items():
        seed = max(range(len(learned)), key=lambda one: learned[one].validation_usd[method])
        choice = learned[seed].policies[method]
        assert isinstance(choice, Mapping)  # both are searched as numbers
        found = {
            "command": f"python -m tokenfleet.evaluation.leaderboard --scenario {scenario.name} --seeds {len(learned)}"
            f" --generations {budget.generations} --corrections {budget.correction_episodes}"
            f" --validation {budget.episodes}",
            "method": method,
            "config_hash": scenario_hash(scenario),
            "seed": seed,
            "validation": {"episodes": budget.episodes, "value": learned[seed].validation_usd[method]},
            "check": checked(scenario, choice),
        }
        path = folder / inside.with_suffix(SUFFIX)
        try:
            write_policy(path, choice, found)
        except OSError as error:
            raise SpecError([f"--ship: cannot write {path}: {error.strerror or error}"]) from None


def checked(scenario: Scenario, choice: Choice) -> dict[str, Any]:
    """Net values of the first validation episodes, and which they are."""
    cell = measure_cell(scenario, choice, CHECKED_EPISODES, 0, "validation")
    return {"split": "validation", "seed": 0, "net_value_usd": cell["net_value_usd"]}
