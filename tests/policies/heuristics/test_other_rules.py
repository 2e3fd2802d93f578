"""Awake replicas, admission, batteries, affinity and prices, on views made by hand."""

from typing import Any

import numpy as np
import pytest

from tests.policies.views import context_of, two_sites, view_of
from tokenfleet.envs import load_scenario
from tokenfleet.policies import make_policy
from tokenfleet.policies.heuristics.admission import BacklogGate
from tokenfleet.policies.heuristics.awake import ByValue, FollowDemand, ProportionalToCap, awake_by_value
from tokenfleet.policies.heuristics.economy import WorthClock, WorthGate
from tokenfleet.policies.heuristics.pricing import ByDemand
from tokenfleet.policies.heuristics.published.dynamollm import DynamoLlmPool
from tokenfleet.policies.heuristics.storage import CarryEvents


@pytest.fixture
def scenario():
    return two_sites()


def test_the_awake_set_by_value_drops_the_boards_that_earn_least_with_a_watt():
    """Two B200 and four A100 behind a cap that does not carry all: A100 sleep, and no B200 does."""
    old = {"gpu": "a100-sxm-80gb", "model": "llama-3.1-8b", "site": "east", "replicas": 4}
    changes = {"pools.east.gpu": "b200-sxm", "pools.old": old, "sites.east.grid.cap_fraction": 0.5}
    awake = awake_by_value(load_scenario(two_sites(), changes))
    assert awake[0] == 2.0
    assert awake[2] < 4.0


SUDDEN = [{"depth_fraction": [0.6, 0.6], "earliest_start_s": 5.0, "latest_start_s": 5.0, "hold_s": 10.0}]


def awake_in_the_east(changes: dict[str, object], cap_share: float, announced_share: float, **parameters: Any) -> float:
    """How many of four replicas `ByValue` keeps awake in the east under a cap, and another announced."""
    scenario = load_scenario(two_sites(), {"pools.east.replicas": 4, "sites.east.grid.cap_fraction": 1.0, **changes})
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    caps = {"cap_w": contract_w * cap_share, "announced_cap_w": contract_w[:, None] * announced_share}
    return float(ByValue(scenario, **parameters).replicas(view_of(scenario, **caps), ())[0][0, 0])


def test_the_awake_set_by_value_follows_a_cap_that_falls_without_notice():
    changes = {"sites.east.grid.emergencies": SUDDEN}
    calm, fallen, told = (awake_in_the_east(changes, *shares) for shares in ((1.0, 1.0), (0.4, 1.0), (1.0, 0.4)))
    assert fallen == told < calm == 4.0


def test_the_awake_set_by_value_follows_other_caps_if_told_to():
    assert awake_in_the_east({}, 0.4, 0.4, follow="all") < awake_in_the_east({}, 0.4, 0.4) == 4.0


def test_a_set_that_follows_no_cap_reads_nothing(scenario):
    assert (ByValue(scenario).reads, ByValue(scenario, follow="all").reads) == (set(), set(ByValue.fields))


@pytest.mark.parametrize("rule", [FollowDemand, DynamoLlmPool])
def test_rules_that_follow_demand_keep_no_more_awake_than_a_fallen_cap_carries(rule):
    changes = {"pools.east.replicas": 4, "sites.east.grid.cap_fraction": 1.0, "sites.east.grid.emergencies": SUDDEN}
    scenario = load_scenario(two_sites(), changes)
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    fallen = {"cap_w": contract_w * 0.4, "announced_cap_w": contract_w[:, None] * 0.4}
    view, awake = view_of(scenario, arrived=1e4, **fallen), rule(scenario)
    bound, _ = ByValue(scenario).replicas(view, ())
    assert (awake.replicas(view, awake.initial_state(1))[0] == bound).all()


def test_the_awake_set_by_value_keeps_every_model_alive():
    awake = awake_by_value(load_scenario("tiny", {"sites.lab.grid.cap_fraction": 0.5}))
    assert (awake >= 1.0).all()


def test_the_awake_set_by_value_of_a_site_with_many_pools_keeps_its_model_alive():
    one = {"gpu": "b200-sxm", "model": "llama-3.1-8b", "site": "east", "replicas": 1}
    changes = {f"pools.one-{number}": one for number in range(16)} | {"sites.east.grid.cap_fraction": 0.5}
    scenario = load_scenario(two_sites(), changes)
    at_east = [pool.site == "east" for pool in scenario.pools.values()]
    assert awake_by_value(scenario)[at_east].sum() >= 1.0


def test_awake_in_proportion_to_the_cap(scenario):
    """The usual two and four; half of the cap is announced for the west."""
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    view = view_of(scenario, announced_cap_w=(contract_w * [1.0, 0.5])[:, None])
    assert ProportionalToCap(scenario).replicas(view, ())[0].tolist() == [[2.0, 2.0]]


def test_replicas_that_follow_demand_wake_at_once_and_sleep_late(scenario):
    rule = FollowDemand(scenario, smoothing_s=1.0)
    state, kept = rule.initial_state(1), []
    wake_s = int(scenario.pools["west"].model_spec.wake_s)
    for _ in range(2 * wake_s):
        awake, state = rule.replicas(view_of(scenario, arrived=0.0), state)
        kept.append(awake[0, 1])
    assert kept[wake_s - 1] == awake_by_value(scenario)[1] > kept[-1] == 1.0
    assert rule.replicas(view_of(scenario, arrived=1e4), state)[0][0, 1] == awake_by_value(scenario)[1]


def test_the_gate_holds_batch_work_at_a_short_backlog_and_refuses_only_what_is_hopeless():
    tiny = load_scenario("tiny")
    batch, chat = (list(tiny.classes).index(name) for name in ("batch-8b", "chat-8b"))
    rule = BacklogGate(tiny)

    def rates(tokens):
        return rule.rates_rps(view_of(tiny, unprefilled_tokens=[tokens, 0.0]), ())[0][0]

    assert rates(0.0)[batch] > 0.0
    assert rates(1e6)[batch] == 0.0 < rates(1e6)[chat]
    assert rates(1e7)[chat] == 0.0


@pytest.fixture
def stored():
    """One battery in the east, and prices forecast one minute ahead."""
    battery = {"power_w": 100.0, "energy_j": 1e6}
    return load_scenario(
        two_sites(), {"sites.east.battery": battery, "forecast_lead_s": [60.0], "horizon_ticks": 40_000}
    )


def asked(scenario, cap, power, price, ahead, time=0.0):
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    view = view_of(
        scenario,
        cap_w=cap * contract_w,
        site_power_w=power * contract_w,
        price_usd_per_mwh=price,
        price_forecast_usd_per_mwh=ahead,
        time_fraction=time,
        battery_charge_fraction=0.5,
    )
    return CarryEvents(scenario, margin=0.0).power_w(view, ())[0][0].tolist()


def test_a_battery_makes_up_for_a_low_cap_and_else_rests_while_prices_stay(stored):
    assert asked(stored, 0.9, 0.9, 50.0, 50.0) == [100.0, 0.0]
    assert asked(stored, 1.0, 0.9, 50.0, 50.0) == [0.0, 0.0]


def test_a_battery_moves_energy_from_cheap_hours_to_dear_ones_with_what_is_free(stored):
    assert asked(stored, 1.0, 0.9, 50.0, 100.0) == [-100.0, 0.0]
    assert asked(stored, 1.0, 1.0, 50.0, 100.0) == [0.0, 0.0]
    assert asked(stored, 1.0, 0.9, 100.0, 50.0) == [100.0, 0.0]


def test_a_battery_is_empty_when_the_episode_ends(stored):
    assert asked(stored, 1.0, 0.9, 50.0, 50.0, time=0.95) == [100.0, 0.0]


def test_a_dearer_joule_slows_clocks_that_nothing_waits_for(scenario):
    rule = WorthClock(scenario)
    clocks = [rule.clocks(view_of(scenario, price_usd_per_mwh=price), ())[0].max() for price in (10.0, 1e4, 1e6)]
    assert clocks[0] > clocks[1] >= clocks[2]
    assert clocks[0] > 0.95


def test_what_costs_more_energy_than_it_earns_is_refused(scenario):
    rates = [
        WorthGate(scenario).rates_rps(view_of(scenario, price_usd_per_mwh=price), ())[0][0, 0] for price in (50.0, 1e6)
    ]
    assert rates[0] > 0.0 == rates[1]


def test_batch_work_waits_for_a_cheaper_hour_but_not_beyond_half_of_its_deadline():
    tiny = load_scenario("tiny", {"forecast_lead_s": [30.0]})
    batch = list(tiny.classes).index("batch-8b")
    held = np.zeros((1, len(tiny.classes)))
    held[0, batch] = 90.0

    def rate(ahead):
        view = view_of(tiny, price_usd_per_mwh=100.0, price_forecast_usd_per_mwh=ahead, held_requests=held)
        return WorthGate(tiny).rates_rps(view, ())[0][0, batch]

    assert rate(50.0) == pytest.approx(90.0 / 22.5)
    assert rate(100.0) > rate(50.0)


def test_prices_rise_with_the_backlog_within_what_the_class_allows():
    scenario = load_scenario(two_sites(), {"classes.chat.token_price_factor": {"low": 0.5, "high": 2.0}})
    rule = ByDemand(scenario, quiet=0.8, full_s=10.0)

    def factor(tokens):
        return float(rule.factors(view_of(scenario, unprefilled_tokens=tokens), ())[0][0, 0])

    assert factor(0.0) == 0.8 < factor(1e5) < factor(1e8) == 2.0


def test_a_composition_reads_what_its_rules_read(scenario):
    policy = make_policy({"name": "max_clock", "storage": "carry_events"}, context_of(scenario))
    assert policy.reads == set(CarryEvents.fields)
