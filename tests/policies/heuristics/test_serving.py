"""Which model replicas serve, on views made by hand and in an episode of `brownout`."""

import numpy as np
import pytest

from tests.policies.views import view_of
from tokenfleet.envs import FleetVectorEnv, load_scenario
from tokenfleet.envs.estimates.backlog import backlog_seconds
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.heuristics.serving import OwnModel, VariantForCaps

SHORT = {"horizon_ticks": 400, "announced_lead_s": [60.0, 300.0, 600.0], "sites.hall.grid.demand_response": [
    {"depth_fraction": 0.3, "notice_s": 600.0, "earliest_start_s": 800.0, "latest_start_s": 800.0, "hold_s": 500.0,
     "ramp_s": 0.0, "recovery_s": 0.0},
]}  # fmt: skip


@pytest.fixture
def scenario():
    return load_scenario("brownout")


def shares(rule, view, state=None):
    """Asked for of the pool that has a variant, and the state after it."""
    share, state = rule.variant_share(view, rule.initial_state(len(view.rows)) if state is None else state)
    return float(share[0, 0]), state


def view_under(scenario, cap_fraction, announced_fraction=1.0, **values):
    contract_w = scenario.contract_w("hall")
    announced = np.array([[1.0, announced_fraction, announced_fraction]])  # in 60, 120 and 240 s
    return view_of(scenario, cap_w=cap_fraction * contract_w, announced_cap_w=announced * contract_w, **values)


def test_the_own_model_is_never_left(scenario):
    assert shares(OwnModel(scenario), view_under(scenario, 0.5))[0] == 0.0


def test_a_low_cap_brings_the_variant_wave_by_wave(scenario):
    rule = VariantForCaps(scenario)
    share, state = shares(rule, view_under(scenario, 0.7))
    assert share == 0.25
    share, state = shares(rule, view_under(scenario, 0.7, switching_replicas=1.0), state)
    assert share == 0.25
    share, state = shares(rule, view_under(scenario, 0.7, waking_replicas=2.0), state)
    assert share == 0.25
    assert shares(rule, view_under(scenario, 0.7), state)[0] == 0.5


def test_the_own_model_comes_back_with_the_cap(scenario):
    assert shares(VariantForCaps(scenario), view_under(scenario, 1.0), (np.ones((1, 1)),))[0] == 0.75


def test_a_cap_that_is_announced_counts_as_far_ahead_as_is_said(scenario):
    view = view_under(scenario, 1.0, 0.7)
    asked = {ahead_s: shares(VariantForCaps(scenario, ahead_s=ahead_s), view)[0] for ahead_s in (60.0, 120.0)}
    assert asked == {60.0: 0.0, 120.0: 0.25}


def test_a_pool_without_a_variant_keeps_its_model():
    scenario = load_scenario("tiny", {"pools.lab-8b.variant": {"model": "qwen3-32b", "quality": 1.0}})
    share, _ = VariantForCaps(scenario).variant_share(view_of(scenario, cap_w=1.0), (np.zeros((1, 1)),))
    assert share.tolist() == [[0.5, 0.0]]


def test_a_backlog_is_shorter_where_a_faster_variant_serves(scenario):
    service, busy = ServiceModel(scenario), {"running_requests": 400.0, "unprefilled_tokens": 50_000.0}
    own_s, half_s, variant_s = (
        float(backlog_seconds(service, view_of(scenario, variant_replicas=count, **busy))[0, 0]) for count in (0, 4, 8)
    )
    assert variant_s < 0.6 * own_s
    assert half_s == pytest.approx((own_s + variant_s) / 2.0)


def test_the_pool_switches_before_the_call_never_altogether_and_back_after_it():
    env = FleetVectorEnv("brownout", 1, overrides=SHORT, split="validation")
    policy = make_policy("brown_out", PolicyContext.from_env(env))
    observations, _ = env.reset(seed=0)
    state, starts, served = None, np.ones(1, np.bool_), []
    for _ in range(399):
        actions, state = policy.decide(observations, state, starts)
        observations, *_ = env.step(actions)
        starts[:] = False
        view = env.engine.view
        served.append((int(view["awake_replicas"][0, 0]), int(view["variant_replicas"][0, 0])))
    awake, variant = np.array(served).T
    assert awake.min() == 6
    assert variant[: 500 // 5].max() == 0  # announced by then, but further away than the rule looks
    assert variant[800 // 5] == 4  # the other half is on its way
    assert variant[1200 // 5 : 1290 // 5].min() == 8
    assert variant[-1] == 0
