"""Who meets in a scenario, by column of the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenfleet.evaluation.generalist.compare import RULES
from tokenfleet.evaluation.robustness.rivals import constants_name, learned_name, rules_of, scenarios_with_rivals
from tokenfleet.policies.generalist.weights import load_weights, weights_hash
from tokenfleet.policies.learned.identity import policy_hash
from tokenfleet.policies.policy_files import shipped_names
from tokenfleet.policies.registry import Choice

RULE, TUNED, CONSTANTS, SPECIALIST = "best rule", "tuned rule", "constants", "specialist"
OTHERS, ZERO_SHOT, FINE_TUNED = "other specialists", "generalist", "fine-tuned"
COLUMNS = (RULE, TUNED, CONSTANTS, SPECIALIST, OTHERS, ZERO_SHOT, FINE_TUNED)


@dataclass(frozen=True)
class Entrant:
    """A policy that meets the test episodes of a scenario.

    Attributes:
        column: of the matrix.
        name: for people.
        choice: as the registry takes it.
        contents: a hash of its numbers: with other ones it is measured anew.
    """

    column: str
    name: str
    choice: Choice
    contents: str

    @property
    def key(self) -> str:
        """In a file of measurements."""
        return f"{self.name}@{self.contents}"


def rivals_of(scenario: str) -> list[Entrant]:
    """Everyone but the generalist; only rules and other scenarios' specialists where nothing was tuned or trained."""
    trained = scenarios_with_rivals()
    others = [_shipped(OTHERS, learned_name(name)) for name in trained if name != scenario]
    if scenario not in trained:
        return [*_rules(RULES), *others]
    constants = constants_name(scenario)
    tuned = [name for name in shipped_names() if name.startswith(f"tuned/{scenario}/") and name != constants]
    return [
        *_rules(rules_of(scenario)),
        *(_shipped(TUNED, name) for name in tuned),
        _shipped(CONSTANTS, constants),
        _shipped(SPECIALIST, learned_name(scenario)),
        *others,
    ]


def generalist_by(column: str, weights: str) -> Entrant:
    """The generalist with these weights: shipped ones by name, or a file."""
    choice = {"name": "generalist", "weights": weights}
    return Entrant(column, column, choice, weights_hash(load_weights(weights, "--weights")))


def _rules(names: Sequence[str]) -> list[Entrant]:
    return [_shipped(RULE, name) for name in names]


def _shipped(column: str, name: str) -> Entrant:
    return Entrant(column, name, name, policy_hash(name))
