"""What caches hold when an episode begins: the contexts used last, as many as fit, wherever they may have been left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs import FleetVectorEnv
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.episode.warm_caches import draw_contexts
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.traces import RequestTable

CACHED = {"prefix_cache": True, "kv_tokens": 1000}
SWARM = "agent-swarm"


def lab(**changes: object) -> Scenario:
    """Two replicas that can hold 1,000 tokens each; `tiny`'s other pool serves another model, without a cache."""
    pool = {**load_scenario("tiny").model_dump(mode="json")["pools"]["lab-8b"], **CACHED, **changes}
    return load_scenario("tiny", {"pools.lab-8b": pool})


def talks(age_s: list[float], tokens: list[int], class_id: int = 0) -> RequestTable:
    """Conversations whose contexts are so old and so long."""
    rows = len(age_s)
    return RequestTable.of(
        np.zeros(rows),
        np.array(tokens) + 1,
        np.ones(rows),
        class_id,
        conversation_id=np.arange(rows),
        reusable_tokens=tokens,
        context_age_s=age_s,
    )


def held(scenario: Scenario, requests: RequestTable, seed: int = 0) -> list[tuple[int, int]]:
    return list(zip(*draw_contexts(scenario, requests, [seed]).columns(), strict=True))


def test_the_contexts_used_last_stay_and_the_oldest_comes_first():
    """400 tokens each on one replica of 1,000: two fit."""
    assert held(lab(replicas=1), talks([30.0, 10.0, 20.0], [400, 400, 400])) == [(2, 0), (1, 0)]


def test_host_memory_holds_contexts_too():
    scenario = lab(
        replicas=1, host_cache_bytes=400 * load_scenario("tiny").pools["lab-8b"].model_spec.kv_bytes_per_token
    )
    assert held(scenario, talks([30.0, 10.0, 20.0], [400, 400, 400])) == [(0, 0), (2, 0), (1, 0)]


def test_every_replica_of_the_class_is_equally_likely():
    places = [replica for seed in range(300) for _, replica in held(lab(), talks([1.0, 2.0], [100, 100]), seed)]
    assert np.bincount(places).tolist() == pytest.approx([300, 300], abs=60)  # 5 standard deviations


@pytest.mark.parametrize(
    ("changes", "class_id"),
    [({"prefix_cache": False}, 0), ({"warm_cache": False}, 0), ({}, 1)],
    ids=["no cache", "a cold cache", "a class without a cache"],
)
def test_nobody_holds_a_context_without_a_warm_cache_for_its_class(changes, class_id):
    assert held(lab(**changes), talks([1.0], [100], class_id)) == []


def test_contexts_that_are_computed_within_the_episode_are_not_held():
    assert held(lab(), talks([np.inf, 5.0], [100, 100])) == [(1, held(lab(), talks([np.inf, 5.0], [100, 100]))[0][1])]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 1200)), max_size=30), seed=st.integers(0, 2**32 - 1))
def test_no_replica_holds_more_than_it_has_memory_for_and_the_oldest_comes_first(rows, seed):
    age_s, tokens = [age for age, _ in rows], [count for _, count in rows]
    contexts = held(lab(), talks(age_s, tokens), seed)
    for replica in (0, 1):
        mine = [row for row, place in contexts if place == replica]
        assert sum(tokens[row] for row in mine) <= 1000
        assert [age_s[row] for row in mine] == sorted((age_s[row] for row in mine), reverse=True)


def test_where_contexts_are_does_not_move_what_else_a_seed_decides():
    warm = sample_episode(load_scenario(SWARM), 5)
    cold = sample_episode(load_scenario(SWARM, {"pools.h100-a.warm_cache": False, "pools.h100-b.warm_cache": False}), 5)
    np.testing.assert_array_equal(warm.requests.arrival_s, cold.requests.arrival_s)
    assert len(warm.contexts.row) > 10 > len(cold.contexts.row) == 0


def test_a_seed_puts_contexts_where_it_put_them_before():
    first, again = (sample_episode(load_scenario(SWARM), 7, "test").contexts for _ in range(2))
    np.testing.assert_array_equal(first.row, again.row)
    np.testing.assert_array_equal(first.replica, again.replica)


def hit_shares(warm_cache: bool) -> tuple[float, float]:
    """Share of context tokens that are found, in the first two minutes and in the five after the fifth."""
    scenario = load_scenario(SWARM, {f"pools.{name}.warm_cache": warm_cache for name in ("h100-a", "h100-b")})
    env = FleetVectorEnv(scenario, 16, split="validation")
    env.reset(seed=0)
    found, computed = np.zeros(600), np.zeros(600)
    for tick in range(600):
        env.step(np.zeros(env.action_space.shape, np.float32))
        found[tick] = env.engine.outcome["prefix_hit_tokens"].sum()
        computed[tick] = env.engine.outcome["prefilled_tokens"].sum()

    def share(ticks: slice) -> float:
        return found[ticks].sum() / (found[ticks].sum() + computed[ticks].sum())

    return share(slice(0, 120)), share(slice(300, 600))


def test_a_warm_episode_begins_as_it_goes_on_and_a_cold_one_does_not():
    first, later = hit_shares(warm_cache=True)
    assert first == pytest.approx(later, abs=0.08)
    assert hit_shares(warm_cache=False)[0] < first - 0.2
