"""Where rules send requests, on views made by hand."""

import numpy as np
import pytest

from tests.policies.views import EAST, context_of, two_sites, view_of
from tokenfleet.envs import load_scenario
from tokenfleet.envs.estimates.backlog import backlog_seconds
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs
from tokenfleet.policies.heuristics.routing import CapacityWeighted, LeastWork, RoundRobin


@pytest.fixture
def scenario():
    return two_sites()


def east_share(routing, view):
    share = routing.shares(view)[:, 0]
    return (share[:, EAST] / share.sum(axis=1)).round(9).tolist()


def test_round_robin_gives_every_pool_the_same(scenario):
    assert east_share(RoundRobin(scenario), view_of(scenario, waiting_requests=[9, 0])) == [0.5]


def test_capacity_weighted_gives_by_size_whatever_the_load(scenario):
    view = view_of(scenario, 2, waiting_requests=[[0, 0], [500, 0]])
    assert east_share(CapacityWeighted(scenario), view) == [round(1 / 3, 9)] * 2


def test_capacity_weighted_is_what_action_zero_means():
    default = load_scenario("default")
    context = context_of(default)
    zero = context.action.decode(np.zeros((1, *context.action_space.shape))).route_share
    share = CapacityWeighted(default).shares(view_of(default))
    np.testing.assert_allclose(share / share.sum(axis=2, keepdims=True), zero, rtol=1e-9)


def test_least_work_is_capacity_weighted_while_nothing_waits(scenario):
    assert east_share(LeastWork(scenario), view_of(scenario)) == [round(1 / 3, 9)]


@pytest.mark.parametrize("field", ["waiting_requests", "running_requests", "unprefilled_tokens"])
def test_least_work_turns_away_from_work_of_any_kind(scenario, field):
    """The more work the east has, the less it gets; in the end, nothing."""
    unit = 2000.0 if field == "unprefilled_tokens" else 5.0
    view = view_of(scenario, 4, **{field: [[0, 0], [unit, 0], [2 * unit, 0], [1000 * unit, 0]]})
    shares = east_share(LeastWork(scenario, spread_s=1.0), view)
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 4
    assert shares[-1] == 0.0


def test_least_work_counts_work_per_awake_replica(scenario):
    """Twice the work on twice the replicas is no reason to prefer either; with half of them asleep, it is."""
    routing = LeastWork(scenario)
    assert east_share(routing, view_of(scenario, waiting_requests=[5, 10])) == [round(1 / 3, 9)]
    assert east_share(routing, view_of(scenario, waiting_requests=[5, 10], awake_replicas=[2, 2]))[0] > 0.5


def test_least_work_sends_nothing_where_nobody_is_awake(scenario):
    routing = LeastWork(scenario)
    assert east_share(routing, view_of(scenario, awake_replicas=[0, 4], waiting_requests=[0, 50])) == [0.0]
    assert np.all(routing.shares(view_of(scenario, awake_replicas=[0, 0])) == 0.0)


def test_a_backlog_is_the_time_it_takes(scenario):
    """1,000 prompt tokens and one answer of the mean length, on two replicas at full clock and at half."""
    service = ServiceModel(scenario)
    profile = scenario.pools["east"].profile
    view = view_of(scenario, 2, waiting_requests=[1, 0], unprefilled_tokens=[1000, 0], clock_fraction=[[1.0], [0.5]])
    prompt_s = 1000.0 * service.costs.prompt_s[EAST]
    answer_s = service.output_tokens[0] * service.costs.output_s[EAST]
    stretched_s = prompt_s * (0.1 + 0.9 / 0.5) + answer_s * (0.85 + 0.15 / 0.5)
    np.testing.assert_allclose(
        backlog_seconds(service, view), [[(prompt_s + answer_s) / 2, 0.0], [stretched_s / 2, 0.0]], rtol=1e-12
    )
    mean_prompt = service.prompt_tokens[0]
    budget = scenario.pools["east"].token_budget
    full_chunk_s = iteration_time_s(profile, Batch(0.0, 0.0, float(budget), 0.0))
    expected_s = full_chunk_s / budget + profile.prefill_attention_s * prefill_pairs(mean_prompt) / mean_prompt
    np.testing.assert_allclose(service.costs.prompt_s, expected_s)
