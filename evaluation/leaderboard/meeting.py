"""Learned policies and rules on the same test episodes of a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.leaderboard.cells import Cells
from tokenfleet.evaluation.leaderboard.learning import Learned
from tokenfleet.evaluation.leaderboard.rivals import ShippedRule
from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.policies.registry import Choice

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Meeting:
    """Everyone on the same test episodes.

    Attributes:
        rules: who met them.
        usd: net value of each rule, `[E]`, by label.
        seeds: by training seed, net value of each method that it trained, `[E]` [USD].
        best: by training seed, the learned method that is best on validation.
        above_cap_s: mean seconds above a cap, by label of a rule, or by method and training seed.
    """

    rules: Sequence[ShippedRule]
    usd: Mapping[str, Float64Array]
    seeds: Sequence[Mapping[str, Float64Array]]
    best: Sequence[str]
    above_cap_s: Mapping[str, float]

    @property
    def learned(self) -> Float64Array:
        """Net value of what each training seed would put into service, `[T, E]` [USD]."""
        return np.array([usd[method] for usd, method in zip(self.seeds, self.best, strict=True)])

    @property
    def learned_above_cap_s(self) -> float:
        """Mean seconds above a cap of the same."""
        return float(np.mean([self.above_cap_s[_key(method, seed)] for seed, method in enumerate(self.best)]))

    def of_method(self, method: str) -> Float64Array:
        """Net value in the training seeds that trained a method, `[T, E]` [USD]; T may be 0."""
        return np.array([usd[method] for usd in self.seeds if method in usd])

    def method_above_cap_s(self, method: str) -> float:
        """Mean seconds above a cap over the training seeds that trained a method."""
        trained = [seed for seed, usd in enumerate(self.seeds) if method in usd]
        return float(np.mean([self.above_cap_s[_key(method, seed)] for seed in trained]))

    def earned(self, method: str, seed: int) -> tuple[float, float]:
        """Mean net value [USD] and mean seconds above a cap of what a training seed found by a method."""
        return float(self.seeds[seed][method].mean()), self.above_cap_s[_key(method, seed)]


def meet(rules: Sequence[ShippedRule], learned: Sequence[Learned], cells: Cells) -> Meeting:
    """Measure what is not on file yet.

    Args:
        rules: that accept the scenario.
        learned: what each training seed came to.
        cells: of the test episodes.
    """
    policies: dict[str, Choice | Path] = {rule.label: rule.choice for rule in rules}
    policies |= {
        _key(method, seed): one.policies[method] for seed, one in enumerate(learned) for method in one.validation
    }
    done = cells.measured(policies)
    return Meeting(
        rules=rules,
        usd={rule.label: np.array(done[rule.label][VALUE]) for rule in rules},
        seeds=[
            {method: np.array(done[_key(method, seed)][VALUE]) for method in one.validation}
            for seed, one in enumerate(learned)
        ],
        best=[one.best for one in learned],
        above_cap_s={name: float(cell[SECONDS]) for name, cell in done.items()},
    )


def _key(method: str, seed: int) -> str:
    return f"{method}/{seed}"
