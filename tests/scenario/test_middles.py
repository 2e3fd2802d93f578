"""The middle of both action boxes is sane everywhere, and every baseline earns at least as much."""

import pytest

from tests.scenario.middles import middle_usd, rule_usd
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.policies import POLICIES

BASELINES = [name for name, preset in POLICIES.items() if preset.group == "baseline"]
EPISODES = 4
NOISY = {
    **dict.fromkeys(("budget-squeeze", "failure-storm", "retry-storm", "rolling-outage"), 16),
    **dict.fromkeys(("shared-campus", "spot-market", "storm-front", "texas-august", "two-markets"), 16),
}
"""Episodes of scenarios in which few tell little."""
SHARE = 0.8
"""Share of the better baseline's value that either middle must earn."""
NOISE = 0.98
"""Share of the middle's value that every baseline must earn."""


@pytest.mark.parametrize("name", catalog_names("scenario"))
def test_the_middle_earns_most_of_what_the_best_baseline_earns_and_no_more_than_any(name: str) -> None:
    episodes = NOISY.get(name, EPISODES)
    earned = {rule: rule_usd(name, rule, episodes) for rule in BASELINES}
    middle = {action: middle_usd(name, action, episodes) for action in ("direct", "setpoints")}
    best_usd = max(earned.values())
    assert {action: usd / best_usd for action, usd in middle.items() if usd < SHARE * best_usd} == {}
    shares = {rule: usd / middle["direct"] for rule, usd in earned.items()}
    assert {rule: share for rule, share in shares.items() if share < NOISE} == {}
