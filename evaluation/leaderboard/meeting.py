"""Learned policies and rules on the same episodes of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.leaderboard.learning import METHODS, VALIDATION_SEED, Learned
from tokenfleet.evaluation.protocol import Protocol
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.registry import POLICIES, Choice

Float64Array = NDArray[np.float64]
VALUE = "net_value_usd"
PUBLISHED = "published"
"""Kind of the shipped policies that are controllers of others."""
FINALISTS = {True: 5, False: 8}
"""How many published controllers, and how many other rules, the test episodes are worth."""


@dataclass(frozen=True)
class Meeting:
    """Everyone on the same test episodes.

    Attributes:
        rules: net value of each rule, `[E]` [USD].
        methods: net value of each method, `[T, E]` of T training seeds [USD].
        best: by training seed, the learned method that is best on validation.
        above_cap_s: mean seconds above a cap, by rule, or by method and training seed.
    """

    rules: Mapping[str, Float64Array]
    methods: Mapping[str, Float64Array]
    best: Sequence[str]
    above_cap_s: Mapping[str, float]

    @property
    def learned(self) -> Float64Array:
        """Net value of what each training seed would put into service, `[T, E]` [USD]."""
        return np.array([self.methods[method][seed] for seed, method in enumerate(self.best)])

    @property
    def learned_above_cap_s(self) -> float:
        """Mean seconds above a cap of the same."""
        return float(np.mean([self.above_cap_s[_key(method, seed)] for seed, method in enumerate(self.best)]))

    def method_above_cap_s(self, method: str) -> float:
        """Mean seconds above a cap over training seeds."""
        return float(np.mean([self.above_cap_s[_key(method, seed)] for seed in range(len(self.best))]))


def finalists(
    scenario: Scenario,
    rules: Sequence[str],
    episodes: int,
    record: Record,
    workers: Workers,
    say: Callable[[str], None],
) -> list[str]:
    """The rules that are best in validation episodes, the best first.

    Args:
        scenario: where they act.
        rules: names of shipped policies; a rule that refuses the scenario is left out.
        episodes: of validation.
        record: of this scenario.
        workers: that run episodes.
        say: told what begins.
    """
    cells = _measured(
        {f"validation/{name}": name for name in rules},
        _Cell(scenario, episodes, VALIDATION_SEED, "validation"), record, workers, say,
    )  # fmt: skip
    means = {name: float(np.mean(cells[f"validation/{name}"].get(VALUE, [-np.inf]))) for name in rules}
    order = sorted((name for name in rules if np.isfinite(means[name])), key=lambda name: -means[name])
    kept = {
        name
        for published, count in FINALISTS.items()
        for name in [rule for rule in order if (POLICIES[rule].group == PUBLISHED) is published][:count]
    }
    return [name for name in order if name in kept]


def meet(
    scenario: Scenario,
    rules: Sequence[str],
    learned: Sequence[Learned],
    protocol: Protocol,
    record: Record,
    workers: Workers,
    say: Callable[[str], None],
) -> Meeting:
    """Measure what is not on file yet.

    Args:
        scenario: where all act, by direct actions.
        rules: names of shipped policies that accept the scenario.
        learned: what each training seed came to.
        protocol: whose test episodes they are.
        record: of this scenario.
        workers: that run episodes.
        say: told what begins.
    """
    policies: dict[str, Choice | Path] = {name: name for name in rules}
    policies |= {_key(method, seed): one.policies[method] for method in METHODS for seed, one in enumerate(learned)}
    cells = _measured(policies, _Cell(scenario, protocol.episodes, protocol.seed, protocol.split), record, workers, say)
    return Meeting(
        rules={name: np.array(cells[name][VALUE]) for name in rules},
        methods={
            method: np.array([cells[_key(method, seed)][VALUE] for seed in range(len(learned))]) for method in METHODS
        },
        best=[one.best for one in learned],
        above_cap_s={name: float(cell["above_cap_s"]) for name, cell in cells.items()},
    )


@dataclass(frozen=True)
class _Cell:
    """What a policy comes to in some episodes."""

    scenario: Scenario
    episodes: int
    seed: int
    split: Split

    def __call__(self, policy: Choice | Path) -> dict[str, Any]:
        return measure_cell(self.scenario, policy, self.episodes, self.seed, self.split)


def _measured(
    policies: Mapping[str, Choice | Path], cell: _Cell, record: Record, workers: Workers, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """The cells by name; as many at once as there are workers."""
    known = set(record.names())
    missing = [name for name in policies if name not in known]
    for first in range(0, len(missing), workers.count):
        some = missing[first : first + workers.count]
        say(", ".join(some))
        for name, done in zip(some, workers.map(cell, [policies[name] for name in some]), strict=True):
            record.keep(name, done)
    return {name: record.measured(name) for name in policies}


def _key(method: str, seed: int) -> str:
    return f"{method}/{seed}"
