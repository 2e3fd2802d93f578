"""The middle of both action boxes is sane everywhere: whoever does nothing earns most of what a good rule earns."""

import json

import pytest

from tests.scenario.middles import PINNED, middle_usd, rule_usd
from tokenfleet.envs.catalog import catalog_names

BEST = json.loads(PINNED.read_text(encoding="utf-8"))
EPISODES = 4
NOISY = {"budget-squeeze": 16, "failure-storm": 16, "two-markets": 16}
"""Episodes of scenarios in which few tell little."""
SHARE = 0.8


def test_every_scenario_has_a_best_rule() -> None:
    """Else run `python -m tests.scenario.middles`."""
    assert sorted(BEST) == sorted(catalog_names("scenario"))


@pytest.mark.parametrize("name", sorted(BEST))
def test_the_middle_earns_most_of_what_the_best_rule_earns(name: str) -> None:
    episodes = NOISY.get(name, EPISODES)
    best_usd = rule_usd(name, BEST[name], episodes)
    earned = {action: middle_usd(name, action, episodes) / best_usd for action in ("direct", "setpoints")}
    assert {action: share for action, share in earned.items() if share < SHARE} == {}
