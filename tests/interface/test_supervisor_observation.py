"""The observation `supervisor` shows what rules know, in the units in which they know it."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.estimates.backlog import backlog_seconds
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.interface.observation import FleetObservation
from tokenfleet.envs.rows import Record
from tokenfleet.envs.vector import FleetVectorEnv


def seen(env: FleetVectorEnv, observation: np.ndarray) -> Record:
    return env.observation_model.decode(observation)  # type: ignore[union-attr]


@pytest.mark.parametrize("action", ["direct", "setpoints"])
@pytest.mark.parametrize("name", ["tiny", "default", "demand-response-day"])
def test_what_a_supervisor_sees_more_stands_behind_the_default_observation_and_within_the_space(
    name: str, action: str
) -> None:
    env = FleetVectorEnv(name, 2, action=action, observation="supervisor")
    observation, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(5):
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
    default = FleetObservation(env.scenario).observe(env.engine.view)
    np.testing.assert_array_equal(observation[:, : default.shape[1]], default)


def test_backlogs_are_those_of_the_rules() -> None:
    env = FleetVectorEnv("default", 2, observation="supervisor")
    env.reset(seed=0)
    for _ in range(20):
        observation, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
    view = Record(env.engine.view.layout, env.engine.view.rows.astype(np.float64))
    backlog_s = backlog_seconds(ServiceModel(env.scenario), view)
    np.testing.assert_allclose(seen(env, observation)["pool_backlog_s"], np.minimum(backlog_s, 100.0), rtol=1e-5)


def test_an_event_is_seen_when_it_is_announced() -> None:
    env = FleetVectorEnv("tiny", 1, observation="supervisor")
    observation, _ = env.reset(seed=0)
    announced = 0
    for _ in range(59):
        shown, view = seen(env, observation)["event_in_s"][0, 0], env.engine.view
        falls = view["announced_cap_w"][0, 0] < 0.9999 * view["cap_w"][0, 0]
        leads = np.array(env.scenario.announced_lead_s)
        announced += bool(falls.any())
        assert shown == pytest.approx(leads[falls].min() if falls.any() else 2.0 * leads.max())
        observation, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
    assert 0 < announced < 59


def test_the_last_set_points_are_shown_and_begin_at_the_middle() -> None:
    env = FleetVectorEnv("tiny", 1, action="setpoints", observation="supervisor")
    observation, _ = env.reset(seed=0)
    assert (seen(env, observation)["last_setpoints"] == 0.0).all()
    action = np.full(env.action_space.shape, 0.1, np.float32)
    observation, *_ = env.step(action)
    shown = env.action_model.decode(seen(env, observation)["last_setpoints"])
    wanted = env.action_model.decode(action)
    for name, values in vars(wanted).items():
        if values is not None:
            np.testing.assert_allclose(getattr(shown, name), values, rtol=1e-5)


def test_the_default_fields_are_all_there() -> None:
    env = FleetVectorEnv("tiny", 1, observation="supervisor")
    env.reset(seed=0)
    names = [field.name for field in env.observation_model.layout]  # type: ignore[union-attr]
    assert names[: len(VIEW)] == [field.name for field in VIEW]
    assert "loop_clock" not in names


def test_fields_of_both_tables_can_be_kept_alone() -> None:
    whole = FleetVectorEnv("default", 2, action="setpoints", observation="supervisor")
    some = FleetVectorEnv("default", 2, action="setpoints", observation=["loop_clock", "cap_w", "class_backlog_s"])
    layouts = [env.observation_model.layout for env in (whole, some)]  # type: ignore[union-attr]
    assert [field.name for field in layouts[1]] == ["cap_w", "class_backlog_s", "loop_clock"]
    seen, kept = (env.reset(seed=3)[0] for env in (whole, some))
    np.testing.assert_array_equal(kept, seen[:, layouts[0].columns("cap_w", "class_backlog_s", "loop_clock")])


def test_an_action_that_a_new_episode_ignores_is_not_remembered() -> None:
    env = FleetVectorEnv("default", 1, action="setpoints", observation="supervisor", max_episode_steps=2)
    env.reset(seed=0)
    action = np.full(env.action_space.shape, 0.7, np.float32)
    for _ in range(2):
        *_, truncations, _ = env.step(action)
    assert truncations.all()
    first, *_ = env.step(action)  # by Gymnasium's autoreset in the next step, this action moves nothing
    np.testing.assert_array_equal(seen(env, first)["last_setpoints"], 0.0)
    after, *_ = env.step(action)
    assert seen(env, after)["last_setpoints"].any()
