"""Linear feedback moves set-points by what it sees, and remembers what it must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tokenfleet.envs import FleetVectorEnv, SpecError
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.heuristics.linear.features import NAMES, Features
from tokenfleet.policies.tunable import tunable

GAIN = {"backlog_limit_s": {"chat-8b": {"demand": 0.4}}}
SCALE = {"demand": {"class chat-8b": {"mean": 2.0, "deviation": 2.0}}}
MOVED = {"name": "linear_feedback", "gains": GAIN, "scale": SCALE}


def make_env(num_envs: int = 2, **kwargs: Any) -> FleetVectorEnv:
    kwargs = {"action": "setpoints", "observation": "supervisor", **kwargs}
    return FleetVectorEnv("tiny", num_envs, overrides={"horizon_ticks": 40}, **kwargs)


def feedback(env: FleetVectorEnv, **parameters: Any) -> Any:
    return make_policy({**MOVED, **parameters}, PolicyContext.from_env(env))


def lived(env: FleetVectorEnv, policy: Any, seeds: list[int], steps: int = 5) -> np.ndarray:
    """Actions of the first steps, `[steps, N, A]`."""
    observation, _ = env.reset(seed=seeds)
    state, actions = None, []
    for _ in range(steps):
        action, state = policy.predict(observation, state, np.full(env.num_envs, not actions))
        actions.append(action)
        observation, *_ = env.step(action)
    return np.array(actions)


def test_without_gains_it_acts_as_supervisor_does() -> None:
    env = make_env()
    observation, _ = env.reset(seed=0)
    supervisor = make_policy({"name": "supervisor", "power_share": 0.9}, PolicyContext.from_env(env))
    action, _ = feedback(env, gains={}, power_share=0.9).predict(observation)
    np.testing.assert_array_equal(action, supervisor.predict(observation)[0])


def test_an_entry_moves_by_its_gain_a_deviation_of_its_feature() -> None:
    """The first reading of a mean over the past is the reading itself."""
    env = make_env()
    observation, _ = env.reset(seed=0)
    for _ in range(3):  # until somebody has arrived
        observation, *_ = env.step(np.zeros((2, 9), np.float32))
    arrived = env.observation_model.decode(observation)["arrived"][:, list(env.scenario.classes).index("chat-8b")]
    assert arrived.any()
    policy = feedback(env, entries={"backlog_limit_s": {"chat-8b": 0.1}})
    (segment,) = (one for one in env.action_model.table if one.name == "backlog_limit")
    column = segment.first + segment.labels.index("chat-8b")
    action, _ = policy.predict(observation)
    np.testing.assert_allclose(action[:, column], np.clip(0.1 + 0.4 * (arrived - 2.0) / 2.0, -1, 1), rtol=1e-6)


def test_a_row_forgets_when_its_episode_begins() -> None:
    env = make_env()
    policy = feedback(env)
    observation, _ = env.reset(seed=[1, 2])
    _, state = policy.predict(observation)
    for _ in range(3):
        observation, *_ = env.step(np.zeros((2, 9), np.float32))
        _, state = policy.predict(observation, state)
    seen, _ = env.step(np.zeros((2, 9), np.float32))[:2]
    mixed, _ = policy.predict(seen, state, np.array([True, False]))
    fresh, _ = policy.predict(seen)
    np.testing.assert_array_equal(mixed[0], fresh[0])
    assert (mixed[1] != fresh[1]).any()


def test_a_decision_holds_for_the_policy_s_own_number_of_ticks() -> None:
    env = make_env(decide_every=1)
    actions = lived(env, feedback(env, decide_every=3), [1, 2], 7)
    changes = (actions[1:] != actions[:-1]).any(axis=(1, 2))
    assert changes.tolist() == [False, False, True, False, False, True]


def test_a_fleet_is_not_disturbed_by_those_beside_it() -> None:
    both, alone = make_env(2), make_env(1)
    together = lived(both, feedback(both), [1, 2])
    np.testing.assert_array_equal(together[:, 1:], lived(alone, feedback(alone), [2]))


def test_a_tuner_moves_base_entries_and_gains() -> None:
    env = make_env()
    context = PolicyContext.from_env(env)
    subject = tunable(MOVED, context)
    assert len(subject.start) == 9 + 1
    again = subject.choice(subject.start)
    assert (again["gains"], again["scale"]) == (GAIN, SCALE)
    observation, _ = env.reset(seed=0)
    actions = [make_policy(choice, context).predict(observation)[0] for choice in (MOVED, again)]
    np.testing.assert_array_equal(*actions)
    assert subject.choice(subject.start + 0.1)["gains"]["backlog_limit_s"]["chat-8b"]["demand"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"gains": {"backlog_limits": {}}},
            r"gains: unknown set-point 'backlog_limits'; did you mean 'backlog_limit_s'",
        ),
        ({"gains": {"backlog_limit_s": {"chat-9b": {}}}}, r"gains\.backlog_limit_s: unknown entry 'chat-9b'"),
        (
            {"gains": {"backlog_limit_s": {"chat-8b": {"demnd": 1.0}}}},
            r"backlog_limit_s\.chat-8b: unknown feature 'demnd'; did you mean 'demand'",
        ),
        (
            {"scale": {}},
            r"demand: follows a feature without a scale; give policy\.linear_feedback\.scale\.demand\.class",
        ),
        ({"scale": {**SCALE, "cap": {"lab": {"mean": 0, "deviation": 1}}}}, r"scale\.cap: unknown row 'lab'"),
        (
            {"scale": {"demand": {"class chat-8b": {"mean": 0, "deviation": 0}}}},
            r"deviation: input should be greater than 0",
        ),
        ({"entries": {"backlog_limit_s": {"chat-8b": 3}}}, r"entries\.backlog_limit_s\.chat-8b: must be -1 to 1"),
        ({"decide_every": 0}, "decide_every: input should be greater than 0"),
        ({"brake_share": 2.0}, r"setpoints\.brake_share: must be 0 to 1"),
        ({"clock": 1.0}, "clock: unknown key"),
    ],
)
def test_a_wrong_number_is_answered_by_name(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        feedback(make_env(1), **wrong)


def test_a_site_sees_the_chance_of_its_own_events_and_another_site_those_elsewhere() -> None:
    env = FleetVectorEnv("storm-front", 3, observation="supervisor")
    observation, _ = env.reset(seed=[0, 1, 2])
    view = env.observation_model.decode(observation)
    features, _ = Features(env.scenario).read(view, Features(env.scenario).nothing_past(3), np.zeros(3))
    coast = view["event_chance"][:, list(env.scenario.sites).index("coast")].max(axis=1)
    own, elsewhere = (features[:, :2, NAMES.index(name)] for name in ("event chance", "event chance elsewhere"))
    assert len(set(coast.tolist())) == 3
    np.testing.assert_array_equal(own, np.stack([coast, np.zeros(3)], axis=1))
    np.testing.assert_array_equal(elsewhere, np.stack([np.zeros(3), coast], axis=1))
