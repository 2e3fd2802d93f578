"""What lowers a cap, and what a breaker carries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.layers.power import (
    BreakerSpec,
    DemandResponseSpec,
    EmergencySpec,
    GridSpec,
    announced_cap_w,
    cap_schedule_w,
    draw_events,
    rating_schedule_w,
    trip_time_s,
)
from tokenfleet.envs.spec import SpecError

EMERGENCY = EmergencySpec(earliest_start_s=10, latest_start_s=20, hold_s=30, probability=0.3, depth_fraction=(0.2, 0.6))


def test_an_emergency_comes_as_often_as_its_probability_says_within_its_bounds():
    events = [EMERGENCY.draw(np.random.default_rng(seed)) for seed in range(4000)]
    came = [event for event in events if event.depth_fraction > 0.0]
    assert len(came) / len(events) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 4000))
    assert all(10 <= event.start_s <= 20 and 0.2 <= event.depth_fraction <= 0.6 for event in came)
    assert np.std([event.depth_fraction for event in came]) == pytest.approx(0.4 / np.sqrt(12), rel=0.1)


def test_an_emergency_is_announced_from_the_moment_it_begins_and_no_sooner():
    grid = GridSpec(cap_w=100.0, emergencies=(EmergencySpec(earliest_start_s=15, latest_start_s=15, hold_s=30),))
    events = draw_events(grid, np.random.default_rng(0))
    now_s = np.array([14.9, 15.0])
    assert cap_schedule_w(events, 100.0, now_s + 10.0).max() < 100.0
    assert announced_cap_w(events, 100.0, now_s, 10.0)[0] == 100.0
    assert announced_cap_w(events, 100.0, now_s, 10.0)[1] < 100.0


def test_only_an_emergency_takes_away_what_the_connection_can_carry():
    response = DemandResponseSpec(earliest_start_s=0, latest_start_s=0, hold_s=50, depth_fraction=0.2)
    emergency = EmergencySpec(earliest_start_s=0, latest_start_s=0, hold_s=50, depth_fraction=(0.5, 0.5))
    grid = GridSpec(cap_w=100.0, demand_response=(response,), emergencies=(emergency,))
    events = draw_events(grid, np.random.default_rng(0))
    assert cap_schedule_w(events, 100.0, np.array([30.0])).tolist() == [40.0]
    assert rating_schedule_w(events, 100.0, np.array([30.0])).tolist() == [50.0]


def test_emergencies_do_not_move_the_demand_response_of_a_seed():
    response = DemandResponseSpec(earliest_start_s=0, latest_start_s=100, hold_s=10)
    alone = draw_events(GridSpec(cap_w=1.0, demand_response=(response,)), np.random.default_rng(7))
    both = GridSpec(cap_w=1.0, demand_response=(response,), emergencies=(EMERGENCY,))
    assert draw_events(both, np.random.default_rng(7))[0] == alone[0]


@given(
    depth=st.floats(0.0, 1.0), ramp_s=st.floats(0.0, 50.0), hold_s=st.floats(0.1, 50.0), time_s=st.floats(0.0, 300.0)
)
def test_a_cap_never_leaves_the_range_of_its_events(depth, ramp_s, hold_s, time_s):
    spec = DemandResponseSpec(
        earliest_start_s=20, latest_start_s=80, depth_fraction=depth, ramp_s=ramp_s, hold_s=hold_s
    )
    event = spec.draw(np.random.default_rng(0))
    assert 1.0 - depth <= event.cap_factor(np.array(time_s)) <= 1.0


def test_the_breaker_goes_through_its_anchor_and_its_pickup():
    breaker = BreakerSpec()
    assert trip_time_s(breaker, 1.25) == pytest.approx(30.0)  # UPS data sheets: 125 % for 30 s to 10 min
    assert trip_time_s(breaker, 1.1) == np.inf
    assert 10.0 < trip_time_s(breaker, 1.5) < 60.0  # UPS data sheets: 150 % for 10 s to 1 min


def test_an_extremely_inverse_curve_is_that_of_iec_60255():
    """t = T * 80 / (I^2 - 1); the ratio of two trip times does not depend on T."""
    breaker = BreakerSpec(pickup_ratio=1.0)
    wanted = (2.0**2 - 1.0) / (5.0**2 - 1.0)
    assert trip_time_s(breaker, 5.0) / trip_time_s(breaker, 2.0) == pytest.approx(wanted)


@given(st.floats(1.11, 10.0), st.floats(1.11, 10.0))
def test_a_heavier_load_trips_sooner(one, other):
    light, heavy = sorted((one, other))
    assert trip_time_s(BreakerSpec(), heavy) <= trip_time_s(BreakerSpec(), light)


@pytest.mark.parametrize(
    ("spec", "data", "message"),
    [
        (BreakerSpec, {"overload_ratio": 1.0}, r"overload_ratio \(1.0\) must be above pickup_ratio \(1.1\)"),
        (EmergencySpec, {"earliest_start_s": 9, "latest_start_s": 3, "hold_s": 1}, r"latest_start_s \(3.0\) must not"),
        (
            EmergencySpec,
            {"earliest_start_s": 1, "latest_start_s": 3, "hold_s": 1, "depth_fraction": [0.5, 0.2]},
            "depth_fraction: the lower bound 0.5 is above the upper 0.2",
        ),
    ],
)
def test_a_mistake_is_named(spec, data, message):
    with pytest.raises(SpecError, match=message):
        spec.parse(data)
