"""Rows, meter windows, control lag and the breaker's curve, worked out by hand and as properties, on both engines."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, run
from tests.engine.small_fleets import layouts, one_pool, plain_episode, two_pools
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import LIMITS
from tokenfleet.envs.traces import RequestTable

ONE_LONG = RequestTable.of([0.0], [10], [2000])  # busy for 20 s at 100 W
NODE_COLUMNS = (
    *("meter_window_ticks", "brake_delay_s", "brake_clock_fraction", "recovery_ratio", "release_fraction"),
    *("release_delay_s", "control_lag_ticks", "pickup_ratio", "trip_exponent", "trip_heat_s", "cooling_s", "restart_s"),
)
each_engine = pytest.mark.parametrize("engine", ENGINES)


def pool_in_a_row(**row_changes: float) -> FleetArrays:
    """`one_pool` in a row of its own; `row_changes` hold for the row alone, whose site never minds."""
    base = one_pool(pue=2.0)
    nodes = {name: np.repeat(getattr(base, name), 2) for name in NODE_COLUMNS}
    for name, value in row_changes.items():
        nodes[name][1] = value
    return replace(base, row=np.array([0]), **nodes, **layouts(S=1, W=1, P=1, K=1))


def under(
    engine: str,
    arrays: FleetArrays,
    cap_w: float = 1e12,
    row_cap_w: float | np.ndarray = 1e12,
    requests: RequestTable = ONE_LONG,
) -> Run:
    return run(engine, arrays, plain_episode(arrays, requests, cap_w, row_cap_w))


@each_engine
def test_a_row_meters_it_power_and_its_site_adds_cooling(engine):
    result = under(engine, pool_in_a_row(), row_cap_w=80.0)
    assert result.outcomes["row_power_w"][1, 0] == pytest.approx(100.0)
    assert result.outcomes["power_w"][1, 0] == pytest.approx(200.0)
    assert result.outcomes["row_over_cap_w"][1, 0] == pytest.approx(20.0)
    assert result.total("above_cap_s") == 0.0


@each_engine
def test_a_braked_row_slows_its_pools_though_the_site_is_below_its_cap(engine):
    """100 W over a row cap of 50 W for 3 s, then a quarter of the clock: iterations of 40 ms."""
    result = under(engine, pool_in_a_row(), row_cap_w=50.0)
    assert result.outcomes["row_brakes"][:, 0].tolist() == [0, 0, 1] + [0] * 17
    assert result.total("brakes") == 0.0
    assert result.outcomes["generated_tokens"][5, 0] == 25


@each_engine
def test_of_two_braked_nodes_the_slower_clock_holds(engine):
    arrays = pool_in_a_row(brake_clock_fraction=0.5)
    assert under(engine, arrays, 100.0, 50.0).views["clock_fraction"][5, 0] == pytest.approx(0.25)
    assert under(engine, arrays, row_cap_w=50.0).views["clock_fraction"][5, 0] == pytest.approx(0.5)


@each_engine
def test_a_row_that_feeds_the_whole_site_holds_every_pool_whatever_row_it_stands_in(engine):
    """Two replicas of 100 W, one in a row of its own, both behind a UPS of 150 W: braked after 3 s."""
    base = two_pools(row=[0, -1], whole_site_row=[1, 1])
    nodes = {name: np.repeat(getattr(base, name), 3) for name in NODE_COLUMNS}
    arrays = replace(base, **nodes, **layouts(S=1, W=2, P=2, K=1))
    both_busy = RequestTable.of([0.0, 0.0], [10, 10], [2000, 2000])
    result = run(engine, arrays, plain_episode(arrays, both_busy, row_cap_w=150.0))
    assert result.outcomes["row_power_w"][1].tolist() == pytest.approx([100.0, 200.0])
    assert result.outcomes["row_brakes"].sum(axis=0).tolist() == [0, 1]
    np.testing.assert_allclose(result.views["clock_fraction"][5], 0.25)


@each_engine
def test_the_cap_of_a_row_changes_with_time(engine):
    """Above it from the fifth second on only."""
    row_cap_w = np.where(np.arange(20) < 5, 200.0, 50.0)
    result = under(engine, pool_in_a_row(brake_delay_s=1e9), row_cap_w=row_cap_w)
    assert result.outcomes["row_above_cap_s"][:, 0].tolist() == [0.0] * 5 + [1.0] * 15


@each_engine
def test_a_row_that_trips_takes_its_pools_with_it(engine):
    """Twice its cap, carried for 5 s; dark for 4 s; the site itself stays lit."""
    result = under(engine, pool_in_a_row(trip_heat_s=5.0, brake_delay_s=1e9), row_cap_w=50.0)
    assert (result.total("row_trips"), result.total("trips")) == (1.0, 0.0)
    assert result.log.status.tolist() == [RequestStatus.REFUSED]
    assert result.outcomes["row_power_w"][4:10, 0].tolist() == pytest.approx([100.0, 0.0, 0.0, 0.0, 0.0, 40.0])
    assert result.views["row_dark_remaining_s"][5:10, 0].tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert result.views["dark_remaining_s"].max() == 0.0


@each_engine
def test_a_meter_averages_over_its_window(engine):
    """Busy for 2 s at 100 W, then idle at 40 W; the window of 4 s sees fewer ticks at first."""
    requests = RequestTable.of([0.0], [10], [199])
    result = under(engine, one_pool(meter_window_ticks=4), cap_w=90.0, requests=requests)
    expected_w = [100.0, 100.0, 80.0, 70.0, 55.0, 40.0, 40.0]
    assert result.outcomes["power_w"][:7, 0].tolist() == pytest.approx(expected_w)
    assert result.total("above_cap_s") == 2.0


@each_engine
def test_clocks_fall_and_rise_a_control_lag_after_the_decision(engine):
    """Decided at 3 s, heard of at 5 s; idle from 5.8 s on it decides to release at 8 s, heard of at 10 s."""
    requests = RequestTable.of([0.0], [10], [519])  # 499 of its tokens by 5 s
    arrays = one_pool(control_lag_ticks=2)
    result = under(engine, arrays, cap_w=90.0, requests=requests)
    assert result.views["clock_fraction"][:, 0].tolist()[:13] == [1.0] * 6 + [0.25] * 5 + [1.0] * 2
    assert result.outcomes["brakes"][:, 0].tolist() == [0] * 4 + [1] + [0] * 15


@each_engine
@pytest.mark.parametrize(("cap_w", "exponent", "trips_after_s"), [(50.0, 1.0, 8), (50.0, 2.0, 3), (80.0, 2.0, 15)])
def test_the_breaker_trips_by_its_inverse_time_curve(engine, cap_w, exponent, trips_after_s):
    """Heat 8 s over (100 / cap)^exponent - 1: 8 s, 2.67 s and 14.2 s, found at the end of a tick."""
    arrays = one_pool(trip_heat_s=8.0, trip_exponent=exponent, brake_delay_s=1e9)
    trips = under(engine, arrays, cap_w=cap_w).outcomes["trips"][:, 0]
    assert np.argmax(trips) + 1 == trips_after_s


@each_engine
def test_a_breaker_carries_its_pickup_for_ever(engine):
    arrays = one_pool(trip_heat_s=1e-6, pickup_ratio=1.25, brake_delay_s=1e9)
    assert under(engine, arrays, cap_w=80.0).total("trips") == 0.0
    assert under(engine, arrays, cap_w=79.0).total("trips") > 0.0


@each_engine
def test_the_breaker_minds_what_the_connection_can_carry_and_the_brake_what_it_may(engine):
    """Under a cap of half its draw for 20 s, on a connection that carries all of it."""
    arrays = one_pool(trip_heat_s=5.0)
    episode = plain_episode(arrays, ONE_LONG, cap_w=50.0)
    result = run(engine, arrays, replace(episode, rating_w=2.0 * episode.cap_w))
    assert (result.total("brakes"), result.total("trips")) == (1.0, 0.0)


@each_engine
def test_a_breaker_cools_below_its_cap(engine):
    """Each burst of 2 s at twice the cap uses up 0.8 of it; 2 s apart they trip it, unless it cools meanwhile."""
    bursts = RequestTable.of([0.0, 4.0], [10, 10], [199, 199])
    hot = one_pool(trip_heat_s=2.5, brake_delay_s=1e9, restart_s=1.0)
    assert under(engine, hot, 50.0, requests=bursts).total("trips") == 1.0
    cool = one_pool(trip_heat_s=2.5, brake_delay_s=1e9, cooling_s=2.5)
    assert under(engine, cool, 50.0, requests=bursts).total("trips") == 0.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_pool_is_no_faster_and_no_brighter_than_any_node_above_it(seed):
    instance = random_instance(seed, load=4.0, cap_share=0.4)
    a, views = instance.arrays, run("native", instance.arrays, instance.episode, instance.controls).views
    for p, s in enumerate(a.site):
        rows = [w for w in (a.whole_site_row[p], a.row[p]) if w >= 0]
        above = [("braked", "dark_remaining_s", s, s)]
        above += [("row_braked", "row_dark_remaining_s", w, a.num_sites + w) for w in rows]
        for braked, dark, column, node in above:
            held = views[braked][:-1, column] == 1.0
            assert np.all(views["clock_fraction"][1:, p][held] <= np.float32(a.brake_clock_fraction[node]))
            assert np.all(views["awake_replicas"][1:, p][views[dark][1:, column] > 0] == 0.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), more=st.floats(1.0, 3.0))
def test_the_first_brake_and_trip_never_come_sooner_under_higher_caps(seed, more):
    """Until the first of them both fleets live the same life on the same tape."""
    instance = random_instance(seed, load=4.0, cap_share=0.4)
    low = run("native", instance.arrays, instance.episode, instance.controls)
    raised = {name: getattr(instance.episode, name) * more for name in LIMITS}
    high = run("native", instance.arrays, replace(instance.episode, **raised), instance.controls)
    assert first_event(high) >= first_event(low)
    same = slice(0, first_event(low))
    assert np.all(high.outcomes["above_cap_s"][same] <= low.outcomes["above_cap_s"][same])


def first_event(result: Run) -> int:
    """Tick of the first brake or trip of any node; the horizon without one."""
    names = ("brakes", "trips", "row_brakes", "row_trips")
    happened = np.concatenate([result.outcomes[name] for name in names], axis=1).any(axis=1)
    return int(np.argmax(happened)) if happened.any() else len(happened)
