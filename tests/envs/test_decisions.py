"""An action that holds for several ticks is those ticks: nothing else changes, and no fleet learns of the others."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.envs.scenarios import FRAGILE
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.interface.action import FleetAction
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

SHORT = {"horizon_ticks": 12}


def actions_of(env: FleetVectorEnv, steps: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (scale * rng.uniform(-1.0, 1.0, (steps, *env.action_space.shape))).astype(np.float32)


def lives(env: FleetVectorEnv, seeds: list[int], actions: np.ndarray) -> list[tuple[Any, ...]]:
    env.reset(seed=seeds)
    return [env.step(action[: env.num_envs]) for action in actions]


@pytest.mark.parametrize("kind", ["direct", "setpoints"])
def test_a_held_action_is_the_same_action_at_every_tick(kind: str) -> None:
    held = FleetVectorEnv("tiny", 3, overrides=SHORT, action=kind, decide_every=4)
    every = FleetVectorEnv("tiny", 3, overrides=SHORT, action=kind, decide_every=1)
    held.reset(seed=0)
    every.reset(seed=0)
    for action in actions_of(held, 3):
        observation, reward, _, truncated, info = held.step(action)
        ticks = [every.step(action) for _ in range(4)]
        np.testing.assert_array_equal(observation, ticks[-1][0])
        np.testing.assert_allclose(reward, sum(tick[1] for tick in ticks), rtol=1e-12)
        np.testing.assert_allclose(info["cost"], sum(tick[4]["cost"] for tick in ticks))
        for name in ("token_revenue_usd", "energy_usd"):
            terms = sum(tick[4]["reward_terms"][name] for tick in ticks)
            np.testing.assert_allclose(info["reward_terms"][name], terms, rtol=1e-12)
    assert truncated.all()
    for name, values in info["episode_metrics"].items():
        if not name.startswith("_"):
            np.testing.assert_array_equal(values, ticks[-1][4]["episode_metrics"][name], err_msg=name)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("kind", ["direct", "setpoints"])
def test_a_fleet_lives_the_same_life_alone_whenever_the_others_end(kind: str, mode: str, engine: str) -> None:
    make = {"overrides": FRAGILE, "action": kind, "decide_every": 3, "autoreset_mode": mode, "engine": engine}
    together = FleetVectorEnv("tiny", 4, **make)
    actions = actions_of(together, 9, 0.5)
    if kind == "direct":  # where everything is awake, breakers trip soon
        actions = np.zeros_like(actions)
        awake = next(segment for segment in FleetAction(together.scenario).table if segment.name == "awake_fraction")
        actions[:, :2, awake.columns] = 1.0
    lived = lives(together, [0, 1, 2, 3], actions)
    lengths = set()
    for index in range(4):
        alone = lives(FleetVectorEnv("tiny", 1, **make), [index], actions[:, index : index + 1])
        for (obs, rew, term, trunc, info), (obs1, rew1, term1, trunc1, info1) in zip(lived, alone, strict=True):
            np.testing.assert_array_equal(obs[index], obs1[0])
            assert (rew[index], term[index], trunc[index]) == (rew1[0], term1[0], trunc1[0])
            assert info["cost"][index] == info1["cost"][0]
        lengths.add(tuple(bool(step[2][index] or step[3][index]) for step in lived))
    assert len(lengths) > 1, "the fleets should not end together"


def test_an_episode_ends_at_its_tick_inside_an_interval() -> None:
    env = FleetEnv("tiny", overrides={"horizon_ticks": 7}, action="setpoints")
    env.reset(seed=0)
    *_, truncated, _ = env.step(np.zeros(env.action_space.shape, np.float32))
    assert not truncated
    *_, truncated, _ = env.step(np.zeros(env.action_space.shape, np.float32))
    assert truncated
    assert env.batch.tick.tolist() == [7]


@pytest.mark.parametrize("cut", [1, 3])
def test_a_state_brings_back_fleets_and_what_their_loops_remember(cut: int) -> None:
    env = FleetVectorEnv("tiny", 3, overrides=FRAGILE, action="setpoints", decide_every=5)
    actions = actions_of(env, 6, 0.5)
    env.reset(seed=0)
    for action in actions[:cut]:
        env.step(action)
    state, copy = env.get_state(), pickle.loads(pickle.dumps(env))
    went_on = [env.step(action) for action in actions[cut:]]
    env.set_state(state)
    for one, two, three in zip(went_on, actions[cut:], actions[cut:], strict=True):
        for again in (env.step(two), copy.step(three)):
            np.testing.assert_array_equal(one[0], again[0])
            np.testing.assert_array_equal(one[1], again[1])


def test_controls_hold_for_one_tick_and_set_points_like_actions() -> None:
    env = FleetVectorEnv("tiny", 2, action="setpoints")
    env.reset(seed=0)
    assert isinstance(env.action_model, SetpointAction)
    env.step(Controls.neutral(2, np.ones((3, 2))))
    assert env.tick.tolist() == [1, 1]
    env.step(env.action_model.decode(np.zeros(env.action_space.shape)))
    assert env.tick.tolist() == [6, 6]


def test_set_points_of_another_fleet_are_refused() -> None:
    env = FleetVectorEnv("tiny", 2, action="setpoints")
    env.reset(seed=0)
    other = SetpointAction(FleetVectorEnv("default", 1).scenario)
    with pytest.raises(SpecError, match=r"setpoints\.clock_bias: shape"):
        env.step(other.decode(np.zeros((2, *other.space.shape))))


def test_a_time_limit_counts_decisions() -> None:
    env = FleetVectorEnv("tiny", 1, action="setpoints", max_episode_steps=2)
    env.reset(seed=0)
    ends = [bool(env.step(np.zeros(env.action_space.shape, np.float32))[3][0]) for _ in range(2)]
    assert ends == [False, True]
    assert env.tick.tolist() == [10]


def test_a_frame_of_a_fleet_that_has_ended_shows_its_own_ticks() -> None:
    make: dict[str, Any] = {"overrides": {"horizon_ticks": 7}, "action": "setpoints", "render_mode": "ansi"}
    env = FleetVectorEnv("tiny", 2, **make)
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.zeros(env.action_space.shape, np.float32))
    ended = env.render()
    alone = FleetVectorEnv(
        "tiny", 1, overrides={"horizon_ticks": 7}, action="setpoints", render_mode="ansi", decide_every=1
    )
    alone.reset(seed=0)
    for _ in range(7):
        alone.step(np.zeros(alone.action_space.shape, np.float32))
    assert ended is not None
    assert ended[0] == alone.render()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"action": "setpoint"}, "action: unknown name 'setpoint'; did you mean 'setpoints'"),
        ({"decide_every": 0}, "decide_every: must be a positive integer"),
    ],
)
def test_a_wrong_argument_is_answered_in_one_line(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        FleetVectorEnv("tiny", 1, **arguments)


@pytest.mark.filterwarnings("ignore:.*spec")
def test_gymnasium_accepts_the_environment() -> None:
    check_env(FleetEnv("tiny", overrides={"horizon_ticks": 8}, action="setpoints"), skip_render_check=True)
    made = gymnasium.make_vec("tokenfleet:tokenfleet/Fleet-v0", num_envs=2, scenario="tiny", action="setpoints")
    made.reset(seed=0)
    assert made.step(made.action_space.sample())[0].shape == made.observation_space.shape


def test_a_fork_and_what_if_take_along_what_the_loop_remembers() -> None:
    env = FleetVectorEnv("tiny", 2, overrides={"horizon_ticks": 40}, action="setpoints")
    env.reset(seed=0)
    actions = actions_of(env, 6)
    for action in actions[:3]:
        env.step(action)
    plan = actions[3, :1]
    answer = env.simulate(plan, 15)
    env.fork([0], [1])
    observations = [env.step(np.repeat(plan, 2, axis=0))[0] for _ in range(3)]
    np.testing.assert_array_equal(observations[-1][0], observations[-1][1])
    np.testing.assert_array_equal(answer.observations[0, 0, 0], observations[-1][0])


def test_what_if_asks_a_rule_at_every_tick() -> None:
    env = FleetVectorEnv("tiny", 1, overrides={"horizon_ticks": 40}, action="setpoints")
    env.reset(seed=0)
    policy: Any = make_policy("feedback_capping", PolicyContext.from_env(env))
    answer = env.simulate(policy, 7)
    observation, state, reward = env.set_state(env.get_state()), None, 0.0
    for tick in range(7):
        controls, state = policy.decide(observation, state, np.array([tick == 0]))
        observation, rewards, *_ = env.step(controls)
        reward += rewards[0]
    assert answer.reward[0, 0, 0] == pytest.approx(reward, rel=1e-12)
