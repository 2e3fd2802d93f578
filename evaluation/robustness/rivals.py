"""Who meets in a scenario: the policies that ship for it, and the best rules there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.spec import Spec, SpecError
from tokenfleet.policies.policy_files import shipped_names
from tokenfleet.policies.registry import POLICIES

RULES_FILE = Path(__file__).parent / "rules.yaml"


class _Rules(Spec):
    """What `rules.yaml` holds.

    Attributes:
        scenarios: names of rules by scenario.
    """

    scenarios: dict[str, tuple[str, ...]] = Field(min_length=1)


def learned_name(scenario: str) -> str:
    """What ships as learned in a scenario, as a policy is named."""
    return f"pretrained/{scenario}"


def constants_name(scenario: str) -> str:
    """The constants that ship for a scenario, as a policy is named."""
    return f"tuned/{scenario}/constants"


def scenarios_with_rivals() -> list[str]:
    """The scenarios for which a learned policy, constants and rules ship."""
    shipped = set(shipped_names())
    return [name for name in _rules() if {learned_name(name), constants_name(name)} <= shipped]


def rules_of(scenario: str) -> Sequence[str]:
    """The rules that are met in a scenario.

    Raises:
        SpecError: nothing is known of the scenario.
    """
    known = scenarios_with_rivals()
    if scenario not in known:
        raise SpecError([f"--scenario: no learned policy ships for {scenario!r} (choose from {', '.join(known)})"])
    return _rules()[scenario]


def _rules(path: Path = RULES_FILE) -> dict[str, tuple[str, ...]]:
    found = _Rules.parse({"scenarios": read_yaml(path)}, path.stem).scenarios
    unknown = sorted({rule for rules in found.values() for rule in rules} - POLICIES.keys())
    if unknown:
        raise SpecError([f"{path}: unknown policy {name!r}" for name in unknown])
    return found
