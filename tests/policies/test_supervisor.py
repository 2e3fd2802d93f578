"""A supervisor holds constants, in an environment that holds set-points and in one that does not."""

import gymnasium
import numpy as np
import pytest

from tokenfleet.envs import FleetVectorEnv, SpecError
from tokenfleet.envs.supervision.setpoints import Setpoints
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.timeline import record_timeline
from tokenfleet.policies import PolicyContext, make_policy

SHORT = {"horizon_ticks": 20}


def envs(action, num_envs=3):
    return FleetVectorEnv("tiny", num_envs, overrides=SHORT, action=action, split="validation")


def supervisor(action="setpoints", scenario="tiny", **constants):
    env = FleetVectorEnv(scenario, 1, action=action)
    return make_policy({"name": "supervisor", **constants}, PolicyContext.from_env(env))


def test_with_the_rest_in_the_middle_it_answers_with_the_middle_of_the_box():
    action, state = supervisor(rest="middle").predict(np.zeros((3, 57), np.float32))
    np.testing.assert_allclose(action, 0.0, atol=1e-6)
    assert state is None


def test_what_is_left_out_is_made_by_hand():
    """On `default` three 70B replicas of four fit either cap, batch work waits for a backlog below 3 s."""
    held = supervisor(scenario="default").setpoints
    assert held.awake_replicas.tolist() == [[1.0, 3.0, 1.0, 3.0]]
    assert held.backlog_limit_s.tolist() == [[15.0, 15.0, 22.5, 3.0]]


def test_a_number_is_for_all_and_a_name_for_one():
    policy = supervisor(scenario="default", power_share=0.9, awake_replicas={"west-b200-8b": 0.0}, route_bias_s={})
    middle = supervisor(scenario="default").setpoints
    assert policy.setpoints.power_share.tolist() == [[0.9, 0.9]]
    changed = policy.setpoints.awake_replicas != middle.awake_replicas
    assert changed.tolist() == [[name == "west-b200-8b" for name in policy.scenario.pools]]


def test_a_route_is_named_by_class_and_pool():
    route = "chat-8b to east-h100-8b"
    policy = supervisor(scenario="default", route_bias_s={route: 2.0})
    pools, classes = list(policy.scenario.pools), list(policy.scenario.classes)
    (at,) = np.argwhere(policy.setpoints.route_bias_s[0])
    assert f"{classes[at[0]]} to {pools[at[1]]}" == route


def test_supervisor_earns_the_same_whoever_holds_the_set_points():
    earned = {}
    for action in ("direct", "setpoints"):
        policy = make_policy("supervisor", PolicyContext.from_env(envs(action, 1)))
        rows = evaluate_policy(lambda count, action=action: envs(action, count), Candidate(policy, "supervisor"), 3, 0)
        earned[action] = [row.metrics["net_value_usd"] for row in rows]
    np.testing.assert_allclose(earned["direct"], earned["setpoints"], rtol=0.02)


def test_a_rule_meets_the_same_episodes_tick_by_tick_under_either_action():
    met = {}
    for action in ("direct", "setpoints"):
        policy = make_policy("feedback_capping", PolicyContext.from_env(envs(action, 1)))
        met[action] = evaluate_policy(lambda count, action=action: envs(action, count), Candidate(policy, "rule"), 3, 0)
    for direct, held in zip(met["direct"], met["setpoints"], strict=True):
        np.testing.assert_equal(dict(direct.metrics), dict(held.metrics))


def test_a_rule_says_why_it_cannot_be_put_into_a_held_action():
    env = gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", scenario="tiny", action="setpoints")
    policy = make_policy("feedback_capping", PolicyContext.from_env(env))
    observation, _ = env.reset(seed=0)
    with pytest.raises(SpecError, match=r"policy\.feedback_capping: answers with controls at every tick"):
        policy.predict(observation)


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"awake_replicas": {"lab-9b": 1}}, r"awake_replicas\.lab-9b: unknown name; did you mean 'lab-8b'"),
        ({"battery_charge": 0.4}, r"battery_charge: this scenario has nothing to set by it"),
        ({"brake_share": 2.0}, r"setpoints\.brake_share: must be 0 to 1 \(got 2\.0\)"),
        ({"clock": 1.0}, "clock: unknown"),
    ],
)
def test_a_wrong_constant_is_answered_by_name(constants, words):
    with pytest.raises(SpecError, match=words):
        supervisor(**constants)


def test_set_points_are_answered_where_they_are_understood():
    observation = np.zeros((2, 57), np.float32)
    assert isinstance(supervisor().decide(observation)[0], Setpoints)


def test_the_timeline_of_set_points_shows_every_tick():
    policy = make_policy("supervisor", PolicyContext.from_env(envs("setpoints", 1)))
    timeline = record_timeline(lambda count: envs("setpoints", count), Candidate(policy, "supervisor"), 0)
    assert timeline.power_w.shape == (20, 1)
    assert len(np.unique(timeline.power_w)) > 10
