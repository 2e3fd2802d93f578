"""The rules that learned policies have to beat: the best on validation, some of them with numbers tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.contenders.cells import MIDDLE, contenders
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.cells import Cells
from tokenfleet.evaluation.leaderboard.commands import run_once, tuning_command
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.policy_files import HERE, SUFFIX, resolved, tuned_name
from tokenfleet.policies.registry import POLICIES, Choice
from tokenfleet.policies.tunable import tunable

PLANNER, PUBLISHED = "planner", "published"
"""Kinds of shipped policies: those too slow in deciding for thousands of episodes, and published controllers."""
FINALISTS = {True: 5, False: 8}
"""How many published controllers, and how many other rules, the test episodes are worth."""
UNTUNED = "supervisor"
"""The rule whose tuned numbers are the constants of every training seed."""


@dataclass(frozen=True)
class ShippedRule:
    """A shipped policy, with its own numbers or tuned ones.

    Attributes:
        name: of the shipped policy.
        choice: as the registry takes it.
        tuned_file: where its numbers are, if they were tuned.
    """

    name: str
    choice: Choice
    tuned_file: Path | None = None

    @property
    def label(self) -> str:
        """For people and files."""
        return f"{self.name}, tuned" if self.tuned_file else self.name

    @property
    def typed(self) -> str:
        """As a command line names it."""
        return str(self.tuned_file or self.name)

    @property
    def ships_tuned(self) -> bool:
        """Whether its tuned numbers are those of a file that ships."""
        return self.tuned_file is not None and self.tuned_file.is_relative_to(HERE)

    @property
    def is_published(self) -> bool:
        """Whether it is a published controller."""
        return POLICIES[self.name].group == PUBLISHED

    @property
    def plans(self) -> bool:
        """Whether its decisions take too long for thousands of episodes."""
        return POLICIES[self.name].group == PLANNER


@dataclass(frozen=True)
class Field:
    """The rules of a scenario, chosen and tuned by validation episodes.

    Attributes:
        rules: the finalists, then the tuned ones.
        tuned: the tuned ones.
        measured: what each comes to in the validation episodes, by label.
    """

    rules: Sequence[ShippedRule]
    tuned: Sequence[ShippedRule]
    measured: Mapping[str, Mapping[str, Any]]

    @property
    def choices(self) -> dict[str, Choice]:
        """The rules as the registry takes them, by label."""
        return {rule.label: rule.choice for rule in self.rules}

    @property
    def base(self) -> ShippedRule:
        """The rule that may be corrected: the best that is no planner."""
        return max((rule for rule in self.rules if not rule.plans), key=self._usd)

    def _usd(self, rule: ShippedRule) -> float:
        return float(np.mean(self.measured[rule.label][VALUE]))


def field_of(scenario: Scenario, budget: Budget, folder: Path, cells: Cells) -> Field:
    """The rules that learned policies meet in a scenario.

    Args:
        scenario: where they act.
        budget: of validation.
        folder: of the leaderboard; the runs of tune.py are in its `tuning`.
        cells: of the validation episodes.

    Raises:
        SpecError: the tuning failed.
    """
    best = finalists([name for name in contenders([]) if name != MIDDLE], cells)
    with_numbers = tuned(scenario, best, budget, folder / "tuning", cells)
    rules = [*best, *with_numbers]
    return Field(rules, with_numbers, cells.measured({rule.label: rule.choice for rule in rules}))


def finalists(names: Sequence[str], cells: Cells) -> list[ShippedRule]:
    """The rules that are best in validation episodes, the best first.

    Args:
        names: of shipped policies; a policy that refuses the scenario is left out.
        cells: of the validation episodes.
    """
    done = cells.measured({name: name for name in names})
    means = {name: float(np.mean(cell["net_value_usd"])) for name, cell in done.items() if "refused" not in cell}
    order = [ShippedRule(name, name) for name in sorted(means, key=lambda name: -means[name])]
    kept = [
        rule
        for is_published, count in FINALISTS.items()
        for rule in [one for one in order if one.is_published is is_published][:count]
    ]
    return [rule for rule in order if rule in kept]


def tuned(
    scenario: Scenario,
    best: Sequence[ShippedRule],
    budget: Budget,
    folder: Path,
    cells: Cells,
) -> list[ShippedRule]:
    """The best rule and the best published controller that have numbers, with these tuned by `tune.py`.

    Where such numbers ship for the scenario and are better in validation episodes, they are taken instead.

    Args:
        scenario: where they act.
        best: the best first.
        budget: of validation.
        folder: of the runs of tune.py.
        cells: of the validation episodes.

    Raises:
        SpecError: the tuning failed.
    """
    probe = FleetVectorEnv(scenario, 1, split="train")
    context = PolicyContext.from_env(probe)
    probe.close()
    found = []
    for is_published in FINALISTS:
        of_kind = (rule for rule in best if rule.is_published is is_published and _has_numbers(rule, context))
        for one in islice(of_kind, 1):
            cells.say(f"tuning {one.name}")
            run = folder / f"{scenario.name}-{one.name}"
            run_once(tuning_command(scenario, one.name, budget.episodes, cells.workers.count, run), scenario, run)
            files = [run / "tuned.yaml", *shipped_numbers(scenario, one.name)]
            found.append(_best([ShippedRule(one.name, resolved(str(file)), file) for file in files], cells))
    return found


def shipped_numbers(scenario: Scenario, rule: str) -> list[Path]:
    """The file of the tuned numbers of a rule that ship for just this scenario, if any do."""
    file = HERE / f"{tuned_name(scenario.name, rule)}{SUFFIX}"
    if not file.is_file() or read_yaml(file)["found"]["config_hash"] != scenario_hash(scenario):
        return []
    return [file]


def _best(rules: Sequence[ShippedRule], cells: Cells) -> ShippedRule:
    """The best in validation episodes; the first of equal ones."""
    return max(rules, key=lambda one: float(np.mean(cells.measured({one.label: one.choice})[one.label][VALUE])))


def _has_numbers(rule: ShippedRule, context: PolicyContext) -> bool:
    """Whether a rule can be tuned in thousands of episodes."""
    if rule.plans or rule.name == UNTUNED:
        return False
    try:
        tunable(rule.choice, context)
    except SpecError:
        return False
    return True
