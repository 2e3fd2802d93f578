"""Plants, rooms and servers: closed forms, bounds, and the servers that the fans were read off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.facility import (
    FAN_W_PER_W,
    CoolingSpec,
    FacilitySpec,
    RoomSpec,
    fan_w,
    it_nameplate_w,
    nameplate_w,
    pue,
    pue_at,
    steady_room_c,
)
from tokenfleet.envs.layers.power.series import signal_at
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError

SERVERS = Path(__file__).parents[2] / "calibration" / "data" / "server_fans.csv"
HOURS = np.arange(8760.0)


def test_the_fans_are_those_of_the_measured_servers():
    """Within 6 W of each of the eight, and the slope that least squares gives."""
    servers = pd.read_csv(SERVERS)
    rest_w = servers.server_w - servers.fan_w
    assert len(servers) == 8
    np.testing.assert_allclose([fan_w(watts) for watts in rest_w], servers.fan_w, atol=6.0)
    assert np.polyfit(rest_w, servers.fan_w, 1)[0] == pytest.approx(FAN_W_PER_W, abs=5e-4)


def test_in_the_cold_chillers_rest():
    cooling = CoolingSpec(free_below_c=8.0)
    assert pue_at(cooling, np.array([-30.0, 8.0])).tolist() == pytest.approx([1.11, 1.11])


def test_in_the_heat_a_chiller_works_at_its_share_of_carnot():
    """At 30 C it lifts 24 K from 291.15 K, with half of an ideal COP of 12.1."""
    cooling = CoolingSpec(conversion_fraction=0.0, circulation_fraction=0.0, carnot_fraction=0.5)
    assert pue_at(cooling, np.array(30.0)) == pytest.approx(1.0 + 24.0 / (0.5 * 291.15))


@given(st.floats(-40.0, 60.0), st.floats(-40.0, 60.0))
def test_pue_never_falls_as_it_gets_hotter_and_stops_at_the_design_temperature(one, other):
    facility = FacilitySpec(cooling=CoolingSpec(), design_outdoor_c=35.0)
    cool, hot = pue(facility, np.sort([one, other]))
    assert 1.0 < cool <= hot <= float(pue(facility, np.array(35.0)))


def test_a_year_in_phoenix_takes_more_cooling_than_one_in_san_jose():
    means = {}
    for place in ("phoenix", "dallas", "leesburg-va", "san-jose"):
        facility = FacilitySpec.parse({"cooling": {}, "outdoor_c": {"series": f"{place}-weather"}})
        means[place] = pue(facility, signal_at(facility.outdoor_c, HOURS)).mean()
    assert means["phoenix"] == max(means.values())
    assert all(1.11 < mean < 1.31 for mean in means.values())


def test_pue_rises_as_load_falls():
    """The fixed part, 2 % of nameplate, weighs four times as much at a quarter of the load."""
    scenario = load_scenario("tiny", {"sites.lab.facility": {"cooling": {}, "outdoor_c": 0.0}})
    episode, full_w = sample_episode(scenario, 0), scenario.it_nameplate_w("lab")
    at_load = [episode.pue[0, 0] + episode.fixed_w[0] / (load * full_w) for load in (1.0, 0.25)]
    assert at_load == pytest.approx([1.11 + 0.02, 1.11 + 0.08])


def test_the_nameplate_is_that_of_the_hottest_day():
    facility = FacilitySpec(
        cooling=CoolingSpec(), design_outdoor_c=35.0, host_w_per_gpu=100.0, host_w_per_board_w=FAN_W_PER_W
    )
    it_w = 2 * (700.0 * (1.0 + FAN_W_PER_W) + 100.0)
    assert it_nameplate_w(facility, [700.0, 700.0]) == pytest.approx(it_w)
    assert nameplate_w(facility, [700.0, 700.0]) == pytest.approx(it_w * (float(pue(facility, np.array(35.0))) + 0.02))


def test_a_constant_pue_stays_as_it_was():
    episode = sample_episode(load_scenario("tiny"), 0)
    assert np.all(episode.pue == 1.2)
    assert (episode.fixed_w.tolist(), episode.host_power_factor.tolist()) == ([0.0], [1.0])


def test_an_episode_draws_its_factors_within_their_bounds_and_arrays_hold_the_worst():
    uncertainty = {"pue_factor": [0.5, 1.5], "host_power_factor": [0.8, 1.3]}
    scenario = load_scenario("default", {"uncertainty": uncertainty, "sites.east.facility.cooling": {}})
    episodes, arrays = [sample_episode(scenario, seed) for seed in range(200)], FleetArrays.from_scenario(scenario)
    pue_factor = np.array([(episode.pue[0, 1] - 1.0) / 0.2 for episode in episodes])
    host_factor = np.array([episode.host_power_factor for episode in episodes])
    assert np.all((pue_factor >= 0.5) & (pue_factor <= 1.5) & (host_factor.T >= 0.8) & (host_factor.T <= 1.3))
    assert np.ptp(pue_factor) > 0.9
    assert np.ptp(host_factor) > 0.4
    assert np.all([episode.pue <= arrays.pue for episode in episodes])
    assert np.all([episode.fixed_w <= arrays.fixed_w for episode in episodes])


def test_a_seed_draws_the_same_factors_again():
    scenario = load_scenario("heatwave")
    drawn = [[sample_episode(scenario, seed, "test") for seed in (3, 4)] for _ in range(2)]
    for episode, again in zip(*drawn, strict=True):
        np.testing.assert_array_equal(episode.pue, again.pue)
        np.testing.assert_array_equal(episode.host_power_factor, again.host_power_factor)
    assert drawn[0][0].host_power_factor[0] != drawn[0][1].host_power_factor[0]


def test_factors_do_not_move_what_else_a_seed_decides():
    plain = sample_episode(load_scenario("default"), 5)
    drawn = sample_episode(load_scenario("default", {"uncertainty.pue_factor": [0.5, 1.5]}), 5)
    np.testing.assert_array_equal(plain.cap_w, drawn.cap_w)
    np.testing.assert_array_equal(plain.requests.arrival_s, drawn.requests.arrival_s)


def test_the_room_of_the_default_numbers_stays_below_its_limit_up_to_the_design_day():
    room = RoomSpec()
    assert steady_room_c(room, excess_k=0.0, load_fraction=1.0) <= room.limit_c
    assert steady_room_c(room, excess_k=4.0, load_fraction=1.0) > room.limit_c


def test_the_engine_gets_the_exact_response_of_a_first_order_room():
    overrides = {"sites.lab.facility.room": {"time_constant_s": 100.0}, "tick_s": 2.0, "horizon_ticks": 30}
    arrays = FleetArrays.from_scenario(load_scenario("tiny", overrides))
    assert arrays.room_response[0] == pytest.approx(1.0 - np.exp(-2.0 / 100.0))
    assert arrays.room_k_per_w[0] * load_scenario("tiny", overrides).it_nameplate_w("lab") == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("spec", "data", "message"),
    [
        (CoolingSpec, {"free_below_c": 20.0}, r"mechanical_above_c \(18.0\) must be above free_below_c \(20.0\)"),
        (CoolingSpec, {"approach_k": 5.0}, r"approach_k \(5.0\) must be above chilled_c \(18.0\)"),
        (RoomSpec, {"limit_c": 25.0}, r"limit_c \(25.0\) less hysteresis_k \(2.0\) must be above supply_c \(24.0\)"),
        (RoomSpec, {"time_constant_s": 0.0}, "time_constant_s: .*greater than 0"),
    ],
)
def test_a_mistake_is_named(spec, data, message):
    with pytest.raises(SpecError, match=message):
        spec.parse(data)
