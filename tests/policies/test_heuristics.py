"""What each rule does, on views made by hand and in short episodes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.small_fleets import one_pool, plain_episode
from tests.policies.views import context_of, episode, two_sites, view_of
from tokenfleet.envs import FleetVectorEnv, load_scenario
from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.estimates.backlog import backlog_seconds
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.heuristics.clocking import FeedbackClock, FullClock, ProportionalClock, ThermalClock
from tokenfleet.policies.heuristics.routing import CapacityWeighted, LeastWork, RoundRobin

EAST, WEST = 0, 1  # 2 and 4 replicas of the same kind


@pytest.fixture
def scenario():
    return two_sites()


def east_share(routing, view):
    share = routing.shares(view)[:, 0]
    return (share[:, EAST] / share.sum(axis=1)).round(9).tolist()


# routing


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
    prompt_s = 1000.0 * service.prompt_token_s[EAST]
    answer_s = service.output_tokens[0] * service.output_token_s[EAST]
    stretched_s = prompt_s * (0.1 + 0.9 / 0.5) + answer_s * (0.85 + 0.15 / 0.5)
    np.testing.assert_allclose(
        backlog_seconds(service, view), [[(prompt_s + answer_s) / 2, 0.0], [stretched_s / 2, 0.0]], rtol=1e-12
    )
    mean_prompt = service.prompt_tokens[0]
    budget = scenario.pools["east"].token_budget
    full_chunk_s = iteration_time_s(profile, Batch(0.0, 0.0, float(budget), 0.0))
    expected_s = full_chunk_s / budget + profile.prefill_attention_s * prefill_pairs(mean_prompt) / mean_prompt
    np.testing.assert_allclose(service.prompt_token_s, expected_s)


# clocks


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
    clocks, (state,) = FeedbackClock(scenario, **parameters).clocks(view, (np.full((1, 2), clock),))
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
    policy = make_policy({"name": "capacity_weighted", "clocking": "feedback"}, PolicyContext.from_env(env))
    share = (history := episode(env, policy, 0))["power_w"] / history["cap_w"]
    assert share[15:].max() <= 1.0
    assert share[15:].min() > 0.9
    assert history["brakes"].sum() == 0


def test_a_thermal_clock_falls_to_the_floor_as_its_room_comes_to_the_limit():
    """Full up to 31 C, half-way to the floor of 0.4 at 31.5 C, the floor from 32 C; the west has no room."""
    scenario = load_scenario(two_sites(), {"sites.east.facility.room": {"limit_c": 32.0}})
    view = view_of(scenario, 4, room_c=[[24.0], [31.0], [31.5], [33.0]], site_power_w=0.0)
    clocks, _ = ThermalClock(scenario, band_k=1.0).clocks(view, (np.ones((4, 2)),))
    np.testing.assert_allclose(clocks, [[1.0, 1.0], [1.0, 1.0], [0.7, 1.0], [0.4, 1.0]])


def test_without_rooms_a_thermal_clock_is_feedback(scenario):
    view = view_of(scenario, 2, site_power_w=[[1e3, 5e3], [3e3, 9e3]])
    state = (np.full((2, 2), 0.8),)
    np.testing.assert_array_equal(
        ThermalClock(scenario).clocks(view, state)[0], FeedbackClock(scenario).clocks(view, state)[0]
    )


# sleep


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


# greedy efficiency


def mixed_gpus(rate_rps=20.0, **overrides):
    """H100 in the east and B200, which serve more per joule, in the west; four replicas each."""
    changes = {
        "pools.east.replicas": 4,
        "pools.west.gpu": "b200-sxm",
        "workload.chat.rate_rps": rate_rps,
        "sites.east.grid.cap_fraction": 1.0,
        "sites.west.grid.cap_fraction": 1.0,
        "horizon_ticks": 240,
        **overrides,
    }
    return load_scenario(two_sites(), changes)


def greedy(scenario, **parameters):
    return make_policy({"name": "greedy_efficiency", **parameters}, context_of(scenario))


def arrivals(scenario, rate_rps, ticks, policy, state=None):
    """Controls after `ticks` seconds of a steady rate."""
    state = policy.initial_state(1) if state is None else state
    for _ in range(ticks):
        controls, state = policy.controls(view_of(scenario, arrived=rate_rps), state)
    return controls, state


def awake_of(scenario, controls):
    return np.rint(controls.awake_fraction[0] * [pool.replicas for pool in scenario.pools.values()]).tolist()


def test_a_light_load_goes_to_the_most_efficient_pool():
    scenario = mixed_gpus()
    controls, _ = arrivals(scenario, 5.0, 1, greedy(scenario))
    np.testing.assert_allclose(controls.route_share[0, 0], [0.0, 1.0])


def test_a_heavy_load_spills_over_and_an_overload_goes_by_capacity():
    scenario = mixed_gpus(rate_rps=100.0)
    service = ServiceModel(scenario).at(np.ones(2)).requests_per_s[0]
    policy = greedy(scenario, target_load=0.5)
    half_more_rps = 0.5 * 4 * service[WEST] * 1.5
    controls, _ = arrivals(scenario, half_more_rps, 200, policy)
    np.testing.assert_allclose(controls.route_share[0, 0], [1 / 3, 2 / 3], rtol=1e-3)
    controls, _ = arrivals(scenario, 1e5, 200, policy)
    np.testing.assert_allclose(controls.route_share[0, 0], service / service.sum(), rtol=0.02)


def test_spare_replicas_fall_asleep_after_their_wake_time_but_for_one():
    scenario = mixed_gpus()
    wake_s = int(scenario.pools["east"].model_spec.wake_s)
    policy = greedy(scenario, patience=1.0)
    controls, state = arrivals(scenario, 0.0, wake_s, policy)
    assert awake_of(scenario, controls) == [4, 4]
    controls, _ = arrivals(scenario, 0.0, 10, policy, state)
    assert awake_of(scenario, controls) == [0, 1]


def test_replicas_wake_as_soon_as_the_load_needs_them():
    scenario = mixed_gpus()
    policy = greedy(scenario, smoothing_s=1.0)
    _, asleep = arrivals(scenario, 0.0, 100, policy)
    controls, _ = arrivals(scenario, 400.0, 1, policy, asleep)
    assert awake_of(scenario, controls) == [4, 4]


def test_a_short_lull_puts_nobody_to_sleep():
    scenario = mixed_gpus(rate_rps=400.0)
    policy = greedy(scenario, smoothing_s=1.0)
    _, busy = arrivals(scenario, 400.0, 5, policy)
    _, lull = arrivals(scenario, 0.0, 20, policy, busy)
    _, busy = arrivals(scenario, 400.0, 5, policy, lull)
    controls, _ = arrivals(scenario, 0.0, 20, policy, busy)
    assert awake_of(scenario, controls) == [4, 4]


def test_waiting_requests_count_as_load():
    scenario = mixed_gpus()
    policy = greedy(scenario, drain_s=1.0)
    calm, _ = policy.controls(view_of(scenario, arrived=20.0), policy.initial_state(1))
    queue, _ = policy.controls(view_of(scenario, arrived=20.0, waiting_requests=[0, 300]), policy.initial_state(1))
    assert calm.route_share[0, 0, EAST] == 0.0
    assert queue.route_share[0, 0, EAST] > 0.1


def test_the_clock_is_the_efficient_one_at_a_light_load_and_full_at_a_heavy_one():
    large = {"model": "llama-3.1-70b", "tensor_parallel": 4}  # boards of an 8B stand at their limit from 0.9 on
    pools = {f"pools.{site}.{key}": value for site in ("east", "west") for key, value in large.items()}
    scenario = mixed_gpus(**{"pools.west.gpu": "h100-sxm", "classes.chat.model": "llama-3.1-70b", **pools})
    policy = greedy(scenario)
    light, _ = arrivals(scenario, 1.0, 100, policy)
    heavy, _ = arrivals(scenario, 1000.0, 100, policy)
    assert np.all((light.clock_fraction > 0.6) & (light.clock_fraction < 0.8))  # near the voltage floor
    np.testing.assert_allclose(heavy.clock_fraction, 1.0)


def test_the_cap_rule_limits_the_clock():
    scenario = mixed_gpus()
    policy = greedy(scenario, clocking="proportional")
    view = view_of(scenario, arrived=1000.0, cap_w=0.5 * np.array([scenario.nameplate_w(s) for s in scenario.sites]))
    controls, _ = policy.controls(view, policy.initial_state(1))
    np.testing.assert_allclose(controls.clock_fraction, 0.5)


def test_it_saves_energy_at_a_light_load_and_serves_as_well():
    """Against full clocks with everything awake, over four minutes: less than two thirds of the energy."""
    scenario = mixed_gpus(rate_rps=10.0)
    env = FleetVectorEnv(scenario, 2)
    lavish = episode(env, make_policy("max_clock", PolicyContext.from_env(env)), 0)
    frugal = episode(env, make_policy("greedy_efficiency", PolicyContext.from_env(env)), 0)
    assert frugal["power_w"].sum() < 2 / 3 * lavish["power_w"].sum()
    assert frugal["reward"].sum() > 0.95 * lavish["reward"].sum()


# pools that only decode


@pytest.mark.parametrize("name", ["round_robin", "capacity_weighted", "least_work", "greedy_efficiency"])
def test_what_is_handed_over_finds_its_pool_awake(name):
    """A prefill pool and a decode pool; every policy must leave the second awake and the first routed to."""
    changes = {
        "pools.lab-8b.kv_policy": "grow",
        "pools.lab-8b.hand_off_to": "decode-8b",
        "pools.decode-8b": {"site": "lab", "gpu": "h100-sxm", "model": "llama-3.1-8b", "decode_only": True},
    }
    env = FleetVectorEnv("tiny", overrides=changes)
    policy = make_policy(name, PolicyContext.from_env(env))
    totals = {field: values.sum() for field, values in episode(env, policy, seed=0).items()}
    assert totals["taken_over_tokens"] > 0.98 * totals["handed_off_tokens"] > 0.0
    assert totals["refused"] == 0
