"""What each classical law is known for, on views made by hand."""

import numpy as np
import pytest

from tests.policies.views import EAST, WEST, shares, two_sites, view_of
from tokenfleet.envs import load_scenario
from tokenfleet.policies.heuristics.classical.drift import DriftPlusPenalty
from tokenfleet.policies.heuristics.classical.routers import JoinShortestQueue, PowerOfTwo, Whittle
from tokenfleet.policies.heuristics.classical.weights import CMu, EarliestDeadline, MaxWeight


@pytest.fixture
def scenario():
    return two_sites()


@pytest.fixture
def tiny():
    return load_scenario("tiny")


def test_the_shortest_queue_a_replica_gets_everything_until_it_is_as_long(scenario):
    """Five requests a replica in the east, one in the west: 20 arrivals fit under the difference of 16 and a few."""
    rule = JoinShortestQueue(scenario)
    far = view_of(scenario, waiting_requests=[200, 4])
    assert shares(rule, far)[WEST] > 0.99
    near = view_of(scenario, waiting_requests=[10, 4])
    assert 0.7 < shares(rule, near)[WEST] < 0.95
    np.testing.assert_allclose(shares(rule, view_of(scenario)), [1 / 3, 2 / 3], atol=0.1)


@pytest.mark.parametrize("pools", [2])
def test_the_shorter_of_two_choices_gets_three_quarters(scenario, pools):
    """`(2 (P - rank) + 1) / P^2` of P equal pools."""
    view = view_of(scenario, awake_replicas=[2, 2], running_requests=[3, 1])
    np.testing.assert_allclose(shares(PowerOfTwo(scenario), view), [1 / pools**2, 3 / pools**2])


def test_two_equal_queues_share_by_their_replicas(scenario):
    np.testing.assert_allclose(shares(PowerOfTwo(scenario), view_of(scenario)), [1 / 3, 2 / 3])


def test_the_index_prefers_the_faster_of_two_empty_pools():
    scenario = load_scenario(two_sites(), {"pools.west.gpu": "b200-sxm", "pools.west.replicas": 2})
    assert shares(Whittle(scenario), view_of(scenario, arrived=0.0))[WEST] > 0.5


def test_max_weight_follows_the_back_pressure(scenario):
    """The longest queue exerts none; nearly all goes to the other, whatever their sizes."""
    assert shares(MaxWeight(scenario), view_of(scenario, unprefilled_tokens=[0, 1e6]))[EAST] > 0.99


def test_c_mu_holds_batch_work_while_dearer_work_fills_the_pool(tiny):
    rule = CMu(tiny)
    batch = list(tiny.classes).index("batch-8b")
    idle, _ = rule.rates_rps(view_of(tiny), ())
    busy, _ = rule.rates_rps(view_of(tiny, unprefilled_tokens=[1e6, 0.0]), ())
    assert idle[0, batch] > 1.0
    assert busy[0, batch] == 0.0


def test_the_earliest_deadline_is_let_through_a_backlog(tiny):
    """90 held requests with a deadline of 45 s, half of which is left: 4 a second at least, whatever waits."""
    batch = list(tiny.classes).index("batch-8b")
    held = np.zeros((1, len(tiny.classes)))
    held[0, batch] = 90.0
    rates, _ = EarliestDeadline(tiny).rates_rps(view_of(tiny, unprefilled_tokens=1e6, held_requests=held), ())
    np.testing.assert_allclose(rates[0, batch], 4.0)
    assert np.isinf(np.delete(rates[0], batch)).all()


def test_the_virtual_queue_of_a_cap_slows_clocks_and_the_queue_of_work_speeds_them_up(scenario):
    rule = DriftPlusPenalty(scenario)

    def clock(over, requests):
        view = view_of(scenario, site_power_w=over * np.array([scenario.contract_w(s) for s in scenario.sites]),
            running_requests=requests, price_usd_per_mwh=60.0)  # fmt: skip
        state = rule.initial_state(1)
        for _ in range(10):
            clocks, state = rule.clocks(view, state)
        return clocks[0]

    assert (clock(0.9, 200.0) > clock(1.1, 200.0)).all()
    assert (clock(1.1, 400.0) >= clock(1.1, 20.0)).all()
    assert (clock(1.1, 400.0) > clock(1.1, 20.0)).any()
