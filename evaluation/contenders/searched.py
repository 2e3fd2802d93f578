"""What searches found for one scenario: rules with tuned numbers, and the best that the protocol of scores knows."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.policies.learned.identity import policy_hash
from tokenfleet.policies.policy_files import resolved, shipped_names
from tokenfleet.policies.registry import Choice

BEST_KNOWN = "best known"
"""The policy whose value is 100 of the score."""


@dataclass(frozen=True)
class SearchedPolicy:
    """A policy with numbers that a search found for one scenario.

    Attributes:
        scenario: its name.
        name: as evaluate.py takes it, or `BEST_KNOWN`.
        rule: the shipped policy that it is with other numbers.
        choice: as the registry takes it.
    """

    scenario: str
    name: str
    rule: str
    choice: Choice

    @property
    def cell(self) -> str:
        """What its cell is called; other numbers have another name."""
        return f"{self.name}@{policy_hash(self.choice)}"


def tuned_rules(scenario: Scenario) -> list[SearchedPolicy]:
    """The rules with tuned numbers that ship for a scenario."""
    folder = f"tuned/{scenario.name}/"
    files = {name: resolved(name) for name in shipped_names() if name.startswith(folder)}
    return [SearchedPolicy(scenario.name, name, choice["name"], choice) for name, choice in files.items()]


def best_known(scenario: Scenario) -> list[SearchedPolicy]:
    """The best policy of a scenario by the protocol; none if it was frozen for an earlier version of the scenario."""
    reference = load_protocol().references.get(scenario.name)
    if reference is None or reference.policy is None or reference.config_hash != scenario_hash(scenario):
        return []
    policy = reference.policy
    rule = policy if isinstance(policy, str) else str(policy["name"])
    return [SearchedPolicy(scenario.name, BEST_KNOWN, rule, policy)]
