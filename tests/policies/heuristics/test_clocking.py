"""How fast rules run GPUs, on views made by hand and in short episodes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.small_fleets import one_pool, plain_episode
from tests.policies.views import episode, two_sites, view_of
from tokenfleet.envs import FleetVectorEnv, load_scenario
from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.heuristics.clocking import FullClock, ProportionalClock
from tokenfleet.policies.heuristics.feedback import FeedbackClock, ThermalClock
from tokenfleet.policies.heuristics.lowest import LowestClock

NO_ROWS = np.ones((1, 0))


@pytest.fixture
def scenario():
    return two_sites()


def test_full_clock_ignores_the_cap(scenario):
    np.testing.assert_array_equal(FullClock(scenario).clocks(view_of(scenario, cap_w=1.0), ())[0], [[1.0, 1.0]])


def test_a_proportional_clock_is_the_caps_share_of_nameplate(scenario):
    nameplate_w = np.array([scenario.nameplate_w("east"), scenario.nameplate_w("west")])
    view = view_of(scenario, 2, cap_w=np.array([[0.7, 1.3], [0.5, 0.1]]) * nameplate_w)
    np.testing.assert_allclose(ProportionalClock(scenario).clocks(view, ())[0], [[0.7, 1.0], [0.5, 0.4]])


def feedback_step(scenario, clock, power_share, **parameters):
    """The clock that follows `clock` when the meter shows `power_share` of the contract at both sites."""
    contract_w = np.array([scenario.contract_w("east"), scenario.contract_w("west")])
    view = view_of(scenario, site_power_w=np.array(power_share) * contract_w)
    clocks, (state, _) = FeedbackClock(scenario, **parameters).clocks(view, (np.full((1, 2), clock), NO_ROWS))
    np.testing.assert_array_equal(clocks, state)
    return clocks[0]


def test_feedback_slows_a_site_that_is_above_its_cap_and_speeds_up_one_below(scenario):
    east, west = feedback_step(scenario, 0.7, [1.1, 0.9], margin=0.0)
    assert east < 0.7 < west


def test_feedback_rests_at_the_margin(scenario):
    np.testing.assert_allclose(feedback_step(scenario, 0.7, [0.95, 0.95], margin=0.05), 0.7)


def test_feedback_moves_by_its_gain(scenario):
    steps = [0.7 - feedback_step(scenario, 0.7, [1.05, 1.05], margin=0.0, gain=gain)[0] for gain in (0.1, 0.2)]
    assert steps[1] == pytest.approx(2 * steps[0])


def test_feedback_stays_within_what_a_gpu_can_do(scenario):
    assert feedback_step(scenario, 0.41, [5.0, 5.0]).tolist() == [0.4, 0.4]
    assert feedback_step(scenario, 0.99, [0.0, 0.0]).tolist() == [1.0, 1.0]


def test_feedback_converges_under_the_cap():
    """A steady heavy load that full clocks would serve far above the cap: it settles just under it within 15 s."""
    scenario = load_scenario(two_sites(cap_fraction=0.8), {"workload.chat.rate_rps": 150.0})
    env = FleetVectorEnv(scenario, 2)
    full = episode(env, make_policy("max_clock", PolicyContext.from_env(env)), 0)
    assert (full["power_w"][:9] / full["cap_w"][:9])[5:].min() > 1.1
    policy = make_policy({"name": "max_clock", "clocking": "feedback"}, PolicyContext.from_env(env))
    share = (history := episode(env, policy, 0))["power_w"] / history["cap_w"]
    assert share[15:].max() <= 1.0
    assert share[15:].min() > 0.9
    assert history["brakes"].sum() == 0


def test_a_thermal_clock_falls_to_the_floor_as_its_room_comes_to_the_limit():
    """Full up to 31 C, half-way to the floor of 0.4 at 31.5 C, the floor from 32 C; the west has no room."""
    scenario = load_scenario(two_sites(), {"sites.east.facility.room": {"limit_c": 32.0}})
    view = view_of(scenario, 4, room_c=[[24.0], [31.0], [31.5], [33.0]], site_power_w=0.0)
    clocks, _ = ThermalClock(scenario, band_k=1.0).clocks(view, (np.ones((4, 2)), np.ones((4, 0))))
    np.testing.assert_allclose(clocks, [[1.0, 1.0], [1.0, 1.0], [0.7, 1.0], [0.4, 1.0]])


def test_without_rooms_a_thermal_clock_is_feedback(scenario):
    view = view_of(scenario, 2, site_power_w=[[1e3, 5e3], [3e3, 9e3]])
    state = (np.full((2, 2), 0.8), np.ones((2, 0)))
    np.testing.assert_array_equal(
        ThermalClock(scenario).clocks(view, state)[0], FeedbackClock(scenario).clocks(view, state)[0]
    )


@pytest.mark.parametrize("replicas", range(1, 40))
def test_exactly_as_many_replicas_are_awake_as_were_meant(replicas):
    """Whatever float32 does on the way through an action, the engine rounds to the number that was meant."""
    arrays, awake = one_pool(replicas=replicas, wake_s=0.0), np.arange(replicas + 1)
    engine = make_engine("native", arrays, len(awake))
    for fleet in range(len(awake)):
        engine.reset(fleet, plain_episode(arrays, RequestTable.empty()))
    action = (awake / replicas / 2.0 - 1.0).astype(np.float32)
    controls = Controls.neutral(len(awake), np.ones((1, 1)))
    engine.step(replace(controls, awake_fraction=np.minimum(2.0 * (action.astype(float) + 1.0), 1.0)[:, None]))
    np.testing.assert_array_equal(engine.view["awake_replicas"][:, 0], awake)


def row_world(**row):
    """The east behind a row of its own, under a site cap that nothing reaches."""
    rows = {"ups": {"whole_site": True, "cap_fraction": 0.7, **row}}
    return load_scenario(
        two_sites(),
        {"sites.east.facility.rows": rows, "sites.east.grid.cap_fraction": 2.0, "workload.chat.rate_rps": 150.0},
    )


def test_feedback_slows_what_is_behind_a_row_above_its_cap_and_nothing_else():
    scenario = row_world()
    view = view_of(scenario, row_cap_w=1000.0, announced_row_cap_w=1000.0, row_power_over_cap=1.3)
    state = (np.full((1, 2), 0.8), np.full((1, 1), 0.8))
    east, west = FeedbackClock(scenario).clocks(view, state)[0][0]
    assert east < 0.8 < west


def test_clocks_do_not_rise_under_the_brake():
    """The meter shows what braked boards draw, not what the clocks asked for would."""
    scenario = two_sites()
    view = view_of(scenario, site_power_w=0.0, braked=[[1.0, 0.0]])
    east, west = FeedbackClock(scenario).clocks(view, (np.full((1, 2), 0.6), NO_ROWS))[0][0]
    assert east == 0.6 < west


def test_the_brakes_allowance_is_spent_while_work_waits_and_until_the_share_is_used():
    scenario = two_sites()
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    at_cap = {"site_power_w": contract_w, "unprefilled_tokens": 1e6}
    rule = FeedbackClock(scenario, brake_share=0.5)
    state = (np.full((1, 2), 0.6), NO_ROWS)

    def clock(**values):
        return rule.clocks(view_of(scenario, **values), state)[0][0, 0]

    assert clock(**at_cap) > 0.6
    assert clock(**at_cap, brake_timer_s=4.5) < 0.6
    assert clock(site_power_w=contract_w) < 0.6


def test_the_lowest_of_several_clocks_counts():
    scenario = two_sites()
    rule = LowestClock(scenario, of=("full", "proportional"))
    view = view_of(scenario, cap_w=0.5 * np.array([scenario.nameplate_w(site) for site in scenario.sites]))
    np.testing.assert_allclose(rule.clocks(view, ())[0], 0.5)
    assert rule.reads == {"cap_w"}
