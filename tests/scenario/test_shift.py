"""Another load, mix, season or fleet than the one trained on."""

from __future__ import annotations

import pytest

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.layers.power.series import EventForecastSpec
from tokenfleet.envs.scenario import ShiftSpec, load_scenario, shifted
from tokenfleet.envs.spec import SpecError


@pytest.mark.parametrize("name", ["default", "agent-swarm", "burst", "chat-city", "follow-the-sun"])
def test_the_load_of_every_class_is_multiplied(name):
    scenario = load_scenario(name)
    busier = shifted(scenario, ShiftSpec(name="x", load_factor=1.3))
    for each in scenario.classes:
        assert busier.mean_rate_rps(each) == pytest.approx(1.3 * scenario.mean_rate_rps(each))


def test_a_diurnal_stream_carries_its_load_inside():
    inner = {"kind": "poisson", "request_class": "chat-8b", "rate_rps": 2.0, "prompt": _LENGTH, "output": _LENGTH}
    scenario = load_scenario("tiny", {"workload": {"chat-8b": {"kind": "diurnal", "stream": inner}}})
    assert shifted(scenario, "less-load").mean_rate_rps("chat-8b") == pytest.approx(0.7 * 2.0)


def test_classes_take_turns_in_getting_more_and_less():
    scenario = load_scenario("default")
    tilted = shifted(scenario, "other-mix")
    ratios = [tilted.mean_rate_rps(name) / scenario.mean_rate_rps(name) for name in scenario.classes]
    assert ratios == pytest.approx([1.5, 0.5] * (len(ratios) // 2) + [1.5] * (len(ratios) % 2))


def test_a_season_is_left_and_a_whole_year_is_not():
    moved = shifted(load_scenario("heatwave"), "other-months").calendar
    assert (moved.first_day, moved.last_day) == (151 + 61, 242 + 61)
    assert shifted(load_scenario("follow-the-sun"), "other-months").calendar == load_scenario("follow-the-sun").calendar


def test_a_smaller_fleet_keeps_its_caps():
    scenario = load_scenario("default")
    smaller = shifted(scenario, "smaller-fleet")
    assert [pool.replicas for pool in scenario.pools.values()] == [1, 4, 1, 4]
    assert [pool.replicas for pool in smaller.pools.values()] == [1, 4, 1, 4]
    halved = shifted(scenario, ShiftSpec(name="half", replicas_fraction=0.5))
    assert [pool.replicas for pool in halved.pools.values()] == [1, 2, 1, 2]
    assert [halved.contract_w(site) for site in halved.sites] == [scenario.contract_w(site) for site in scenario.sites]


def test_a_smaller_fleet_keeps_the_caps_of_its_rows():
    scenario = load_scenario("failure-storm")
    smaller = shifted(scenario, ShiftSpec(name="smaller", replicas_fraction=0.75))
    assert sum(pool.replicas for pool in smaller.pools.values()) < sum(
        pool.replicas for pool in scenario.pools.values()
    )
    assert [smaller.row_cap_w(*row) for row in smaller.rows] == [scenario.row_cap_w(*row) for row in scenario.rows]


def test_worse_forecasts_are_worse_of_demand_too():
    told = load_scenario("priced-power").forecast
    worse = shifted(load_scenario("priced-power"), ShiftSpec(name="worse", forecast_error_factor=3.0))
    assert worse.forecast.demand.error_fraction == 3.0 * told.demand.error_fraction
    assert worse.forecast.outdoor_error_c == 3.0 * told.outdoor_error_c


def test_worse_forecasts_are_worse_of_events_too_and_perfect_ones_perfect():
    told = {"forecast_lead_s": [60.0], "forecast.events": {"noise": 0.4, "start_error_s": 20.0}}
    for factor in (0.0, 3.0):
        worse = shifted(load_scenario("default", told), ShiftSpec(name="x", forecast_error_factor=factor))
        assert worse.forecast.events == EventForecastSpec(noise=factor * 0.4, start_error_s=factor * 20.0)


def test_a_site_that_fails_by_a_shift_leaves_the_shape_of_forecasts():
    """No event of the scenario is at its first site, where the shift puts one."""
    keys = {"forecast_lead_s": [60.0], "forecast.events": {}, "sites.east.grid.demand_response": []}
    event = {"earliest_start_s": 60.0, "latest_start_s": 90.0, "hold_s": 60.0}
    scenario = load_scenario("default", {**keys, "sites.west.grid.demand_response": [event]})
    assert FleetEnv(shifted(scenario, "failed-site")).observation_space == FleetEnv(scenario).observation_space


def test_a_site_fails_where_another_can_take_its_load():
    scenario = load_scenario("rolling-outage")
    first, other = shifted(scenario, "failed-site").sites.values()
    assert [event.depth_fraction for event in first.grid.emergencies] == [(0.3, 0.5), (0.9, 0.9)]
    assert other == scenario.sites["west"]
    alone = load_scenario("tiny")
    assert shifted(alone, "failed-site") == alone


@pytest.mark.parametrize("shift", catalog_names("shift"))
def test_a_policy_that_was_trained_without_the_shift_can_act_under_it(shift):
    plain, moved = FleetEnv("heatwave"), FleetEnv(shifted(load_scenario("heatwave"), shift))
    assert moved.observation_space == plain.observation_space
    assert moved.action_space == plain.action_space
    moved.reset(seed=0)
    moved.step(moved.action_space.sample())


def test_an_unknown_shift_is_answered_with_the_nearest():
    with pytest.raises(SpecError, match=r"unknown name 'more-lod'; did you mean 'more-load'"):
        shifted(load_scenario("tiny"), "more-lod")


_LENGTH = {"median_tokens": 100, "sigma": 0.5, "max_tokens": 1000}
