"""The inner loop turns set-points into controls, each by its own law, for every fleet by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.envs.scenarios import two_routes
from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.supervision.loop import LEAST_DWELL_S, InnerLoop, LoopState
from tokenfleet.envs.supervision.setpoints import Setpoints

BATTERY = {"sites.lab.battery": {"power_w": 5000.0, "energy_j": 1e6}}


def calm(scenario: Scenario, num_envs: int = 1, **fields: Any) -> Record:
    """A view of fleets at rest under a wide cap, with some fields said otherwise."""
    layout = Layout(VIEW, axis_sizes(scenario))
    view = Record(layout, np.zeros((num_envs, layout.width)))
    view["awake_replicas"][:] = [pool.replicas for pool in scenario.pools.values()]
    view["clock_fraction"][:] = 1.0
    for name in ("cap_w", "announced_cap_w"):
        view[name][:] = 20_000.0
    for name, value in fields.items():
        view[name][:] = value
    return view


def setpoints(loop: InnerLoop, num_envs: int = 1, **given: Any) -> Setpoints:
    return Setpoints.neutral({"N": num_envs, **loop.sizes}, **given)


def kept_awake(loop: InnerLoop, scenario: Scenario, wanted: list[float], state: LoopState | None = None) -> list[float]:
    """Replicas that the first pool keeps awake while it is told these numbers, tick after tick."""
    state, kept, view = state or loop.initial_state(1), [], calm(scenario)
    for number in wanted:
        _, state = loop.controls(setpoints(loop, awake_replicas=number), view, state)
        kept.append(float(state.awake[0, 0]))
    return kept


def test_the_clock_falls_above_the_power_target_and_rises_below_it() -> None:
    loop = InnerLoop(load_scenario("tiny"))
    half = loop.initial_state(1)._replace(clock=np.full((1, 1), 0.7))
    for power_w, sign in ((19_300.0, -1.0), (19_100.0, 1.0), (19_200.0, 0.0)):
        view = calm(load_scenario("tiny"), site_power_w=power_w)
        _, after = loop.controls(setpoints(loop, power_share=0.96), view, half)
        assert np.sign(after.clock[0, 0] - 0.7) == sign


def test_the_clock_does_not_rise_while_the_brake_hides_what_it_would_draw() -> None:
    loop = InnerLoop(load_scenario("tiny"))
    half = loop.initial_state(1)._replace(clock=np.full((1, 1), 0.7))
    _, after = loop.controls(setpoints(loop), calm(load_scenario("tiny"), site_power_w=5_000.0, braked=1.0), half)
    assert after.clock[0, 0] == 0.7


def test_a_site_stands_above_its_cap_while_work_waits_and_the_allowance_lasts() -> None:
    scenario = load_scenario("tiny")
    loop = InnerLoop(scenario)
    above_w = scenario.sites["lab"].grid.breaker.pickup_ratio * 20_000.0
    for timer_s, waiting, share, target_w in (
        (0.0, 500.0, 0.5, above_w),
        (0.0, 0.0, 0.5, 19_200.0),
        (4.5, 500.0, 0.5, 19_200.0),
        (0.0, 500.0, 0.0, 19_200.0),
    ):
        view = calm(scenario, brake_timer_s=timer_s, waiting_requests=waiting)
        backlog_s = np.full((1, 2), 30.0 if waiting else 0.0)
        assert loop.target_w(setpoints(loop, brake_share=share), view, backlog_s)[0, 0] == pytest.approx(target_w)


def test_a_bias_counts_as_backlog_that_is_not_there() -> None:
    scenario = two_routes()
    loop, view = InnerLoop(scenario), calm(scenario)
    bias_s = np.zeros((1, 3, 3))
    bias_s[0, 0, 2] = 1.5
    controls, _ = loop.controls(setpoints(loop, route_bias_s=bias_s, route_spread_s=1.0), view, loop.initial_state(1))
    assert controls.route_share[0, 0, 0] == 0.0 < controls.route_share[0, 0, 2]
    assert controls.route_share[0, 2, 0] > controls.route_share[0, 2, 2] > 0.0


def test_a_class_is_let_in_until_its_backlog_reaches_its_limit() -> None:
    scenario = load_scenario("tiny")
    loop = InnerLoop(scenario)
    idle, _ = loop.controls(setpoints(loop, backlog_limit_s=2.0), calm(scenario), loop.initial_state(1))
    full, _ = loop.controls(
        setpoints(loop, backlog_limit_s=2.0), calm(scenario, waiting_requests=1e4), loop.initial_state(1)
    )
    never, _ = loop.controls(setpoints(loop), calm(scenario, waiting_requests=1e4), loop.initial_state(1))
    assert (idle.admit_rate_rps > 0.0).all()
    assert (full.admit_rate_rps == 0.0).all()
    assert np.isinf(never.admit_rate_rps).all()


def test_a_battery_is_moved_towards_its_charge_and_charges_from_slack_alone() -> None:
    scenario = load_scenario("tiny", BATTERY)
    loop = InnerLoop(scenario)
    for charge, power_w, sign in ((0.3, 5_000.0, 1.0), (0.7, 5_000.0, -1.0), (0.7, 19_990.0, 0.0), (0.5, 5_000.0, 0.0)):
        view = calm(scenario, battery_charge_fraction=0.5, site_power_w=power_w)
        controls, _ = loop.controls(setpoints(loop, battery_charge=charge), view, loop.initial_state(1))
        assert np.sign(controls.battery_power_w) == [[sign]]


def test_replicas_are_whole_and_a_quarter_beyond_the_half_changes_them() -> None:
    scenario = load_scenario("default")
    loop = InnerLoop(scenario)
    pool = int(np.argmax(loop.initial_state(1).awake[0]))
    rested = loop.initial_state(1)
    for wanted, kept in ((3.3, 4.0), (3.2, 3.0), (1.6, 2.0), (0.2, 0.0), (9.0, 4.0)):
        _, after = loop.controls(setpoints(loop, awake_replicas=wanted), calm(scenario), rested)
        assert after.awake[0, pool] == kept


@given(st.lists(st.floats(0.0, 2.5), min_size=1, max_size=80))
def test_a_number_of_replicas_is_whole_within_the_pool_and_kept_for_a_while(wanted: list[float]) -> None:
    scenario, loop = TINY
    kept = kept_awake(loop, scenario, wanted)
    changes = np.flatnonzero(np.diff(kept, prepend=2.0))
    assert set(kept) <= {0.0, 1.0, 2.0}
    assert (np.diff(changes) * scenario.tick_s >= LEAST_DWELL_S).all()


@pytest.mark.parametrize("name", ["default", "demand-response-day"])
def test_a_fleet_is_steered_by_its_own_view_to_the_last_bit(name: str) -> None:
    scenario = load_scenario(name)
    loop, rng = InnerLoop(scenario), np.random.default_rng(0)
    view = calm(scenario, 33)
    view.rows[:] = view.rows * rng.uniform(0.2, 1.5, view.rows.shape) + rng.uniform(0.0, 3.0, view.rows.shape)
    wanted = setpoints(loop, 33, awake_replicas=rng.uniform(0.0, 4.0, (33, loop.sizes["P"])), backlog_limit_s=5.0)
    together, after = loop.controls(wanted, view, loop.initial_state(33))
    for index in range(33):
        own = replace(
            wanted, **{key: rows[index : index + 1] for key, rows in vars(wanted).items() if rows is not None}
        )
        alone, left = loop.controls(own, Record(view.layout, view.rows[index : index + 1]), loop.initial_state(1))
        for key, rows in alone.given().items():
            np.testing.assert_array_equal(rows[0], together.given()[key][index], err_msg=key)
        for one, all_of_them in zip(left, after, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[index])


def test_set_points_beyond_their_bounds_are_refused_by_name() -> None:
    loop = InnerLoop(load_scenario("tiny"))
    with pytest.raises(SpecError, match=r"setpoints.brake_share: must be 0 to 1 \(got 1.5\)"):
        setpoints(loop, brake_share=1.5).check({"N": 1, **loop.sizes})


TINY = (load_scenario("tiny"), InnerLoop(load_scenario("tiny")))


def test_a_pool_comes_to_its_variant_in_waves_none_of_which_begins_before_the_last_is_over() -> None:
    scenario = load_scenario("brownout")  # a pool of eight, and one without a variant
    loop, asked = InnerLoop(scenario), []
    wanted, state = setpoints(loop, variant_fraction=0.75), loop.initial_state(1)
    for waking in (0.0, 2.0, 1.0, 0.0, 0.0, 0.0):
        controls, state = loop.controls(wanted, calm(scenario, waking_replicas=waking), state)
        assert controls.variant_fraction is not None
        asked.append(controls.variant_fraction[0, 0].item())
    assert asked == [0.25, 0.25, 0.25, 0.5, 0.75, 0.75]
