"""Rooms, plants and servers: worked out by hand on both engines, and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.traces import RequestTable

NOTHING = RequestTable.empty()
ONE_LONG = RequestTable.of([0.0], [10], [2000])  # busy for 20 s at 100 W
each_engine = pytest.mark.parametrize("engine", ENGINES)


def in_a_room(**changes: object) -> FleetArrays:
    """`one_pool` in a room that is 0.1 K warmer for each watt, once it has settled, above a supply of 20 C."""
    return one_pool(**{"room": 0, "room_k_per_w": 0.1, "room_response": 0.5, **changes})


def under(engine: str, arrays: FleetArrays, requests: RequestTable, outdoor_c: float = 15.0, **columns: object) -> Run:
    episode = plain_episode(arrays, requests)
    return run(engine, arrays, replace(episode, outdoor_c=np.full_like(episode.outdoor_c, outdoor_c), **columns))


@each_engine
def test_the_air_goes_half_the_way_to_its_target_in_a_tick(engine):
    """Idle at 40 W the room tends to 24 C."""
    views = under(engine, in_a_room(), NOTHING).views
    assert views["room_c"][:5, 0].tolist() == pytest.approx([20.0, 22.0, 23.0, 23.5, 23.75])
    assert views["room_c"][-1, 0] == pytest.approx(24.0, abs=1e-4)


@each_engine
def test_each_degree_beyond_the_design_temperature_is_a_degree_inside(engine):
    """At 38 C outside, 3 K beyond the 35 C that the plant is built for."""
    views = under(engine, in_a_room(room_response=1.0), NOTHING, outdoor_c=38.0).views
    assert views["room_c"][1, 0] == pytest.approx(27.0)
    cooler = under(engine, in_a_room(room_response=1.0), NOTHING, outdoor_c=34.9).views
    assert cooler["room_c"][1, 0] == pytest.approx(24.0)


@each_engine
def test_a_room_above_its_limit_derates_clocks_until_it_has_cooled(engine):
    """Busy at 100 W it tends to 30 C and passes 29 C in its fourth tick; half the clock, 50 W, brings it below 27 C."""
    arrays = in_a_room(static_w=0.0, floor_w=100.0, voltage_floor_fraction=1.0, room_limit_c=29.0, room_release_c=27.0)
    result = under(engine, arrays, ONE_LONG)
    air_c = [20.0, 25.0, 27.5, 28.75, 29.375, 27.1875, 26.09375, 28.046875]
    assert result.views["room_c"][:8, 0].tolist() == pytest.approx(air_c, abs=0.05)
    assert result.views["derated"][:8, 0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert result.views["clock_fraction"][:8, 0].tolist() == [1, 1, 1, 1, 1, 0.5, 0.5, 1]
    assert result.outcomes["derated_s"][:7, 0].tolist() == [0, 0, 0, 0, 1, 1, 0]


@each_engine
def test_derating_leaves_a_slower_clock_as_it_is(engine):
    arrays = in_a_room(room_limit_c=0.0, room_release_c=0.0, derate_clock_fraction=0.5, clock_floor_fraction=0.3)
    result = under(engine, replace(arrays, brake_clock_fraction=np.array([0.2]), brake_delay_s=np.zeros(1)), NOTHING)
    assert result.views["clock_fraction"][3, 0] == pytest.approx(0.5)
    episode = plain_episode(arrays, NOTHING, cap_w=30.0)
    braked = run(engine, replace(arrays, brake_clock_fraction=np.array([0.2])), episode)
    assert braked.views["clock_fraction"][-1, 0] == pytest.approx(0.2)


@each_engine
def test_the_facility_draws_by_the_hour_and_its_fixed_part_while_it_is_lit(engine):
    arrays = one_pool(trip_heat_s=1.0, brake_delay_s=1e9)
    pue = np.linspace(1.0, 1.95, 20)[:, None]
    episode = replace(plain_episode(arrays, NOTHING, cap_w=30.0), pue=pue, fixed_w=np.array([7.0]))
    power_w = run(engine, arrays, episode).outcomes["power_w"][:7, 0].tolist()
    assert power_w == pytest.approx([40.0 + 7.0, 40.0 * 1.05 + 7.0, *[0.0] * 4, 40.0 * 1.3 + 7.0])


@each_engine
def test_servers_draw_more_the_more_their_boards_do(engine):
    """20 W and a fifth of the boards' power, of which an episode says that it is half as much again."""
    arrays = one_pool(host_w=20.0, host_w_per_board_w=0.2)
    result = under(engine, arrays, ONE_LONG, host_power_factor=np.array([1.5]))
    assert result.outcomes["host_energy_j"][1, 0] == pytest.approx(1.5 * (20.0 + 0.2 * 100.0))
    assert result.outcomes["it_energy_j"][1, 0] == pytest.approx(100.0 + 60.0)


@settings(max_examples=40, deadline=None)
@given(
    response=st.floats(0.05, 1.0),
    outdoor_c=st.floats(-20.0, 50.0),
    ticks=st.integers(1, 20),
)
def test_under_a_steady_load_the_air_follows_its_closed_form(response, outdoor_c, ticks):
    """target + (start - target) * (1 - response)^n."""
    arrays = in_a_room(room_response=response, room_limit_c=1e9)
    result = under("native", arrays, NOTHING, outdoor_c)
    target_c = 20.0 + max(outdoor_c - 35.0, 0.0) + 0.1 * 40.0
    expected_c = target_c + (20.0 - target_c) * (1.0 - response) ** ticks
    assert result.views["room_c"][ticks, 0] == pytest.approx(expected_c, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_air_stays_between_its_supply_and_its_hottest_target(seed):
    instance = random_instance(seed, load=5.0)
    a, episode = instance.arrays, instance.episode
    result = run("native", a, episode, instance.controls)
    for s, index in enumerate(a.room):
        if index >= 0:
            excess_k = np.maximum(episode.outdoor_c[:, s] - a.design_outdoor_c[s], 0.0)
            it_w = result.site_it_energy_j(a, s) / a.tick_s
            hottest_c = a.room_supply_c[s] + (excess_k + a.room_k_per_w[s] * it_w).max()
            air_c = result.views["room_c"][:, index]
            assert np.all((air_c >= a.room_supply_c[s] - 1e-4) & (air_c <= hottest_c + 1e-4))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), colder_k=st.floats(0.0, 20.0))
def test_a_cooler_sky_never_derates_sooner(seed, colder_k):
    """Until the first derating both fleets live the same life."""
    instance = random_instance(seed, load=5.0)
    cooler = replace(instance.episode, outdoor_c=instance.episode.outdoor_c - colder_k)
    first = [
        np.append(
            run("native", instance.arrays, episode, instance.controls).outcomes["derated_s"].any(axis=1), True
        ).argmax()
        for episode in (instance.episode, cooler)
    ]
    assert first[1] >= first[0]
