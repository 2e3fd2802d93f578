"""A limit on seconds above a cap: what a search is ranked by, and what a choice is made by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.evaluation.screen.limit import DEARER, SecondsLimit, penalised, price_per_s, ranked
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, outcomes

VALUES, BEYOND_S = np.array([1.0, 3.0, 2.0]), np.array([0.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as one:
        yield one


@pytest.fixture(scope="module")
def tiny() -> Scenario:
    return load_scenario("tiny", {"horizon_ticks": 30})


def test_whoever_keeps_the_limit_is_chosen_before_whoever_does_not() -> None:
    assert np.argsort(-ranked(VALUES, BEYOND_S)).tolist() == [0, 2, 1]


def test_seconds_beyond_the_limit_cost_more_with_every_generation() -> None:
    early, late = (penalised(VALUES, BEYOND_S, 0.1, generation) for generation in (0, 10))
    assert int(np.argmax(early)) == 1
    assert int(np.argmax(late)) == 0
    np.testing.assert_allclose(VALUES - late, DEARER**10 * (VALUES - early))


def test_where_no_plan_is_beyond_the_limit_seconds_cost_nothing() -> None:
    assert price_per_s(VALUES, np.zeros(3)) == 0.0


def test_seconds_are_counted_beyond_those_of_the_constants_in_the_same_episodes(
    tiny: Scenario, workers: Workers
) -> None:
    plans = Plans(np.random.default_rng(0).uniform(-1.0, 1.0, (4, 9)))
    constants = plans.part(slice(0, 1))
    setting = RolloutSetting(tiny, "train", (1, 2, 3))
    done = outcomes(setting, plans, workers)
    seconds = done["above_cap_s"].mean(axis=1)
    values, beyond_s = SecondsLimit(constants, 2.0).measured(setting, plans, workers)
    np.testing.assert_array_equal(values, done["net_value_usd"].mean(axis=1))
    np.testing.assert_allclose(beyond_s, np.maximum(seconds - seconds[0] - 2.0, 0.0))
    assert beyond_s.any()
