"""The benchmark of the time to win stops when every rule is beaten, and confirms it on other episodes."""

from __future__ import annotations

import numpy as np

from benchmarks.time_to_win import CONFIRMED, Budget, Laboratory, Validation, raced
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.screen.rollouts import Workers

EPISODES = 4
BUDGET = Budget(constants=2, population=4, episodes=1, every=1, most=1)


def _checks(**rules_usd: float) -> list[Validation]:
    rules = {name: np.full(2 * EPISODES, usd) for name, usd in rules_usd.items()}
    with Workers(1) as workers:
        lab = Laboratory(load_scenario("tiny"), workers, 0)
        return list(raced(lab, BUDGET, 0, rules, episode_seeds(0, 2 * EPISODES)))


def test_a_win_is_confirmed_on_episodes_that_stopped_nothing() -> None:
    first, second = _checks(bad=-1e3, worse=-1e4)
    assert (first.stage, second.stage) == ("constants", CONFIRMED)
    assert first.rule == second.rule == "bad"
    assert first.low_usd > 0.0
    assert first.episodes == second.episodes == BUDGET.population
    assert first.value_usd != second.value_usd
    assert 0.0 < first.processor_s < second.processor_s


def test_a_learner_that_beats_nobody_ends_with_its_budget() -> None:
    checks = _checks(bad=-1e3, unbeaten=1e3)
    assert [one.stage for one in checks] == ["constants", "constants", "probes", "feedback"]
    assert {one.rule for one in checks} == {"unbeaten"}
    assert all(one.high_usd < 0.0 for one in checks)
