"""Greedy efficiency, on views made by hand and in short episodes."""

import numpy as np
import pytest

from tests.policies.views import EAST, WEST, context_of, episode, two_sites, view_of
from tokenfleet.envs import FleetVectorEnv, load_scenario
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.policies import PolicyContext, make_policy


@pytest.fixture
def scenario():
    return two_sites()


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


def test_greedy_efficiency_saves_energy_at_a_light_load_and_serves_as_well():
    """Against full clocks with everything awake, over four minutes: less than two thirds of the energy."""
    scenario = mixed_gpus(rate_rps=10.0)
    env = FleetVectorEnv(scenario, 2)
    lavish = episode(env, make_policy("max_clock", PolicyContext.from_env(env)), 0)
    frugal = episode(env, make_policy("greedy_efficiency", PolicyContext.from_env(env)), 0)
    assert frugal["power_w"].sum() < 2 / 3 * lavish["power_w"].sum()
    assert frugal["reward"].sum() > 0.95 * lavish["reward"].sum()


@pytest.mark.parametrize(
    "name", ["least_work", "feedback_capping", "operator", "greedy_efficiency", "dynamo_kv", "drift_plus_penalty"]
)
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
