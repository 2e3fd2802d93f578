"""The rolling-horizon programme: what it does with prices, caps and held work that a reader can check."""

import numpy as np
import pytest

from tests.policies.views import context_of, view_of
from tokenfleet.envs import FleetVectorEnv, load_scenario
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.planning import rolling


def make_policy_of(scenario, **parameters):
    return make_policy({"name": "rolling_horizon", **parameters}, context_of(scenario))


def decide(policy, view):
    """Controls for a fleet whose episode begins."""
    controls, _ = policy.controls(view, policy.initial_state(len(view.rows)))
    return controls


@pytest.fixture(scope="module")
def tiny():
    return load_scenario("tiny")


@pytest.fixture(scope="module")
def battery():
    """One site with a battery that could move its whole content within a plan, and dear power later."""
    return load_scenario(
        "tiny",
        {
            "forecast_lead_s": [60.0, 120.0],
            "sites.lab.battery": {"power_w": 2000.0, "energy_j": 200_000.0},
        },
    )


@pytest.mark.parametrize(("now", "later", "sign"), [(20.0, 900.0, -1.0), (900.0, 20.0, 1.0)])
def test_batteries_charge_before_dear_hours_and_give_in_them(battery, now, later, sign):
    view = view_of(
        battery, price_usd_per_mwh=now, price_forecast_usd_per_mwh=later, battery_charge_fraction=0.5, arrived=5.0
    )
    assert np.sign(decide(make_policy_of(battery), view).battery_power_w) == sign


def test_fewer_replicas_are_awake_when_fewer_requests_come(tiny):
    policy = make_policy_of(tiny, smoothing_s=0.5)
    few, many = (
        decide(policy, view_of(tiny, arrived=[rate, rate, 0.0], price_usd_per_mwh=60.0)) for rate in (0.1, 30.0)
    )
    assert (few.awake_fraction <= many.awake_fraction).all()
    assert few.awake_fraction.sum() < many.awake_fraction.sum()
    assert (few.awake_fraction > 0.0).all()


def test_pools_that_decode_for_others_stay_as_the_rule_has_them():
    split = load_scenario("split-serving")
    view = view_of(split, price_usd_per_mwh=60.0)
    planned, ruled = (
        decide(make_policy_of(split), view),
        decide(make_policy("feedback_capping", context_of(split)), view),
    )
    for p, pool in enumerate(split.pools.values()):
        if pool.hand_off_to is not None:
            q = list(split.pools).index(pool.hand_off_to)
            assert planned.awake_fraction[0, q] == ruled.awake_fraction[0, q] > planned.awake_fraction[0, p] / 2


def test_held_work_is_released_where_there_is_power_and_kept_where_there_is_none(tiny):
    policy = make_policy_of(tiny)
    contract_w = tiny.contract_w("lab")
    calm = decide(policy, view_of(tiny, held_requests=[0.0, 0.0, 50.0]))
    asleep_w = 0.05 * contract_w
    tight = decide(policy, view_of(tiny, held_requests=[0.0, 0.0, 50.0], cap_w=asleep_w, announced_cap_w=contract_w))
    assert calm.admit_rate_rps[0, 2] > tight.admit_rate_rps[0, 2]


def test_a_plan_holds_until_the_next_one(monkeypatch: pytest.MonkeyPatch):
    solve, solved = rolling.linprog, []
    monkeypatch.setattr(rolling, "linprog", lambda *a, **k: solved.append(1) or solve(*a, **k))
    env = FleetVectorEnv("tiny", 1)
    policy = make_policy({"name": "rolling_horizon", "decide_every": 3}, PolicyContext.from_env(env))
    observation, _ = env.reset(seed=0)
    state, replicas = None, []
    for tick in range(9):
        controls, state = policy.decide(observation, state, np.array([tick == 0]))
        replicas.append(state[2][0].tolist())
        observation, *_ = env.step(controls)
    assert len(solved) == 3
    assert [replicas[i] == replicas[i + 1] for i in (0, 1, 3, 4, 6, 7)] == [True] * 6
