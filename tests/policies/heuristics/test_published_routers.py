"""What each published router, admitter and planner is known for, on views made by hand."""

import numpy as np
import pytest

from tests.policies.views import EAST, WEST, shares, two_sites, view_of
from tokenfleet.envs import load_scenario
from tokenfleet.policies.heuristics.published.cache_aware import (
    MooncakeAdmission,
    MooncakeConductor,
    PrebleE2,
    SglangAffinity,
    SglangRouter,
)
from tokenfleet.policies.heuristics.published.dynamo_planner import DynamoPlanner
from tokenfleet.policies.heuristics.published.dynamo_router import DynamoKvRouter
from tokenfleet.policies.heuristics.published.dynamollm import DynamoLlmPool
from tokenfleet.policies.heuristics.published.kv_utilisation import KairosAdmission
from tokenfleet.policies.heuristics.published.llmd import LlmdAdmitter, LlmdScorer
from tokenfleet.policies.heuristics.published.tapas import TapasRouting
from tokenfleet.policies.heuristics.published.voltana import EcoRoute


@pytest.fixture
def scenario():
    return two_sites()


@pytest.fixture
def tiny():
    return load_scenario("tiny")


@pytest.mark.parametrize("router", [DynamoKvRouter, MooncakeConductor, PrebleE2])
def test_a_router_by_work_avoids_the_pool_with_prompts_to_compute(scenario, router):
    assert shares(router(scenario), view_of(scenario, unprefilled_tokens=[0.0, 1e6]))[EAST] > 0.98


def test_no_pool_is_cut_off_so_that_calls_may_return(scenario):
    assert shares(DynamoKvRouter(scenario), view_of(scenario, unprefilled_tokens=[0.0, 1e6]))[WEST] > 0.0


def test_a_pool_that_sleeps_gets_nothing_but_its_remainder(scenario):
    assert shares(DynamoKvRouter(scenario), view_of(scenario, awake_replicas=[0, 4]))[EAST] < 0.01


def test_dynamo_counts_blocks_that_are_decoded(scenario):
    assert shares(DynamoKvRouter(scenario), view_of(scenario, kv_reserved_fraction=[0.0, 0.9]))[EAST] > 0.98


def test_preble_avoids_a_cache_that_it_would_have_to_empty():
    scenario = load_scenario(two_sites(), {"workload.chat.rate_rps": 0.5})
    assert shares(PrebleE2(scenario), view_of(scenario, cached_fraction=[0.0, 1.0]))[EAST] > 0.7


def test_llm_d_scores_queues_caches_and_prefixes(scenario):
    rule = LlmdScorer(scenario)
    assert shares(rule, view_of(scenario, waiting_requests=[0.0, 500.0]))[EAST] > 0.98
    assert shares(rule, view_of(scenario, kv_reserved_fraction=[0.0, 0.9]))[EAST] > 0.98
    assert shares(rule, view_of(scenario, cached_fraction=[0.5, 0.0]))[EAST] > 0.98


def test_sglang_goes_by_cache_in_balance_and_by_load_out_of_it(scenario):
    balanced = view_of(scenario, running_requests=[20.0, 80.0], cached_fraction=[0.1, 0.5])
    unbalanced = view_of(scenario, running_requests=[200.0, 80.0], cached_fraction=[0.1, 0.5])
    assert shares(SglangRouter(scenario), balanced)[EAST] > 0.98
    assert shares(SglangRouter(scenario), unbalanced)[WEST] > 0.98
    assert np.isinf(SglangAffinity(scenario).affinity(balanced)).all()
    assert (SglangAffinity(scenario).affinity(unbalanced) == 0.0).all()


def test_eco_route_fills_the_pool_whose_clock_stays(scenario):
    """Beyond a tile everywhere: the pool that runs fast already is filled before one that a request would speed up."""
    rule = EcoRoute(scenario)
    few = shares(rule, view_of(scenario, running_requests=[2.0, 400.0]))
    assert few[EAST] > 0.98


def test_tapas_keeps_away_from_a_site_near_its_cap_unless_all_are(scenario):
    rule = TapasRouting(scenario)
    assert shares(rule, view_of(scenario, power_over_cap=[[0.95, 0.5]]))[WEST] > 0.99
    np.testing.assert_allclose(shares(rule, view_of(scenario, power_over_cap=0.95)), [1 / 3, 2 / 3])


@pytest.mark.parametrize(("saturation", "rejected"), [(0.15, 0.0228), (0.30, 0.729), (0.34, 1.0)])
def test_llm_d_sheds_low_priority_with_the_published_probability(tiny, saturation, rejected):
    batch, chat = (list(tiny.classes).index(name) for name in ("batch-8b", "chat-8b"))
    arrived = np.full((1, len(tiny.classes)), 10.0)
    view = view_of(tiny, kv_reserved_fraction=0.8 * saturation, arrived=arrived)
    rates, _ = LlmdAdmitter(tiny).rates_rps(view, ())
    np.testing.assert_allclose(1.0 - rates[0, batch] / 10.0, rejected, atol=1e-3)
    assert np.isinf(rates[0, chat])


def test_kairos_admits_nothing_to_full_caches(scenario):
    rates, _ = KairosAdmission(scenario).rates_rps(
        view_of(scenario, 2, kv_reserved_fraction=[[0.5] * 2, [0.9] * 2]), ()
    )
    assert rates[0, 0] > 0.0 == rates[1, 0]


def test_mooncake_rejects_what_would_be_late_everywhere(scenario):
    tokens = [[1e7, 0.0], [1e7, 1e7]]
    rates, _ = MooncakeAdmission(scenario).rates_rps(view_of(scenario, 2, unprefilled_tokens=tokens), ())
    assert rates[:, 0].tolist() == [np.inf, 0.0]


def replicas(rule, view, ticks=1):
    state = rule.initial_state(1)
    for _ in range(ticks):
        awake, state = rule.replicas(view, state)
    return awake[0].tolist()


def test_the_planner_shrinks_every_pool_to_its_power_budget_but_never_to_nothing(scenario):
    busy = {"unprefilled_tokens": 1e7, "arrived": 400.0}
    nameplate_w = np.array([scenario.nameplate_w(site) for site in scenario.sites])
    rich = view_of(scenario, **busy, cap_w=2 * nameplate_w, announced_cap_w=2 * nameplate_w[:, None])
    half = view_of(scenario, **busy, cap_w=2 * nameplate_w, announced_cap_w=0.5 * nameplate_w[:, None])
    none = view_of(scenario, **busy, cap_w=0.1 * nameplate_w, announced_cap_w=0.1 * nameplate_w[:, None])
    rule = DynamoPlanner(scenario)
    assert replicas(rule, rich) == [2, 4]
    assert replicas(rule, half) in ([1, 2], [1, 3])
    assert replicas(rule, none) == [1, 1]


def test_the_planner_lets_go_of_one_replica_every_five_seconds_while_limits_are_kept(scenario):
    calm = view_of(scenario, arrived=0.0)
    rule = DynamoPlanner(scenario)
    assert [replicas(rule, calm, ticks)[WEST] for ticks in (1, 5, 6, 11)] == [3, 3, 2, 1]


def test_dynamollm_plans_replicas_every_five_minutes(scenario):
    rule = DynamoLlmPool(scenario, smoothing_s=1.0)
    state = rule.initial_state(1)
    first, state = rule.replicas(view_of(scenario, arrived=0.0), state)
    for _ in range(299):
        held, state = rule.replicas(view_of(scenario, arrived=2000.0), state)
    after, _ = rule.replicas(view_of(scenario, arrived=2000.0), state)
    assert first.tolist() == held.tolist() == [[1.0, 1.0]]
    assert after.sum() > 2.0
