"""The adaptor gives stable-baselines3 exactly what its own `DummyVecEnv` would give."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.policies.toys import Scripted, same_step
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv


def scripted(count: int = 2, script: tuple[tuple[int, bool], ...] = ((2, True), (3, False))) -> Sb3VecEnv:
    return Sb3VecEnv(same_step(lambda: Scripted(script), count))


def steps(env: Any, count: int) -> list[Any]:
    return [env.step(np.zeros(env.num_envs, int)) for _ in range(count)]


def test_agrees_with_dummy_vec_env_on_every_number_that_a_learner_reads() -> None:
    ours = Sb3VecEnv(same_step(lambda: gymnasium.make("CartPole-v1", max_episode_steps=30), 3))
    theirs = DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1", max_episode_steps=30))] * 3)
    ours.seed(5)
    theirs._seeds = list(ours._seeds)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(200):
        actions = rng.integers(0, 2, 3)
        (obs, rewards, dones, infos), expected = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(obs, expected[0])
        np.testing.assert_array_equal(rewards, expected[1])
        np.testing.assert_array_equal(dones, expected[2])
        for index in np.flatnonzero(dones):
            ended += 1
            mine, other = infos[index], expected[3][index]
            np.testing.assert_array_equal(mine["terminal_observation"], other["terminal_observation"])
            assert mine["TimeLimit.truncated"] == other["TimeLimit.truncated"]
            assert (mine["episode"]["r"], mine["episode"]["l"]) == (other["episode"]["r"], other["episode"]["l"])
    assert ended > 10


def test_the_observation_after_an_end_is_the_next_episodes_first() -> None:
    env = scripted(1)
    env.reset()
    (first, _, _, _), (second, _, dones, infos) = steps(env, 2)
    assert first.tolist() == [[0, 1]]
    assert dones.tolist() == [True]
    assert second.tolist() == [[1, 0]]
    assert infos[0]["terminal_observation"].tolist() == [0, 2]


def test_only_an_episode_that_time_cut_short_counts_as_truncated() -> None:
    env = scripted(1)
    env.reset()
    rows = [infos[0] for _, _, dones, infos in steps(env, 5) if dones[0]]
    assert [row["TimeLimit.truncated"] for row in rows] == [False, True]


def test_an_ended_episode_reports_its_return_its_length_and_what_the_environment_says() -> None:
    env = scripted(1)
    env.reset()
    rows = [infos[0] for _, _, dones, infos in steps(env, 5) if dones[0]]
    assert [(row["episode"]["r"], row["episode"]["l"]) for row in rows] == [(2.0, 2), (3.0, 3)]
    assert [row["episode_metrics"] for row in rows] == [{"score": 0.0}, {"score": 1.0}]


def test_rows_of_running_episodes_stay_empty() -> None:
    env = Sb3VecEnv(
        SyncVectorEnv(
            [lambda: Scripted(((2, True),)), lambda: Scripted(((9, True),))], autoreset_mode=AutoresetMode.SAME_STEP
        )
    )
    env.reset()
    infos = steps(env, 4)[-1][3]
    assert set(infos[0]) >= {"episode", "terminal_observation"}
    assert infos[1] == {}
    assert steps(env, 1)[0][3] == [{}, {}]


def test_seeds_and_options_count_for_one_reset() -> None:
    env = scripted(2)
    env.seed(7)
    env.set_options({"hard": True})
    env.reset()
    env.reset()
    part = env.env.envs[0]
    assert part.seeds[0] is not None
    assert part.seeds[1] is None
    assert part.options == [{"hard": True}, None]


def test_neighbouring_seeds_share_no_episode() -> None:
    first, second = scripted(8).seed(0), scripted(8).seed(1)
    assert len({*first, *second}) == 16
    assert scripted(8).seed(0) == first


class ReusesItsBuffers(VectorEnv[Any, Any, Any]):
    """Writes every observation and reward into the same arrays, as a fast environment may."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 (Gymnasium's name)

    def __init__(self) -> None:
        self.num_envs, self.render_mode = 2, None
        self.single_observation_space = spaces.Box(0, 9, (1,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self._seen, self._reward, self._ended = np.zeros((2, 1), np.float32), np.zeros(2), np.zeros(2, bool)
        self.tariff = 3

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._seen, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._seen += 1
        self._reward += 1
        return self._seen, self._reward, self._ended, self._ended, {}


def test_what_was_handed_out_does_not_change_when_the_environment_moves_on() -> None:
    env = Sb3VecEnv(ReusesItsBuffers())
    before = env.reset()
    seen = [(obs.copy(), obs, reward) for obs, reward, _, _ in steps(env, 2)]
    assert before.tolist() == [[0], [0]]
    assert [obs.tolist() for _, obs, _ in seen] == [[[1], [1]], [[2], [2]]]
    assert [reward.tolist() for _, _, reward in seen] == [[1, 1], [2, 2]]


def test_attributes_and_methods_of_each_environment() -> None:
    env = scripted(2)
    env.reset()
    assert env.get_attr("episode") == [0, 0]
    env.set_attr("episode", 4, indices=1)
    assert env.get_attr("episode") == [0, 4]
    assert env.env_method("double", 21, indices=[0]) == [42]
    assert env.env_is_wrapped(Monitor) == [False, False]


def test_attributes_of_a_batch_belong_to_all_of_it() -> None:
    env = Sb3VecEnv(ReusesItsBuffers())
    assert env.get_attr("tariff", indices=[1]) == [3]
    env.set_attr("tariff", 5)
    assert env.get_attr("tariff") == [5, 5]
    with pytest.raises(ValueError, match="one batch"):
        env.set_attr("tariff", 6, indices=0)


def test_a_wrapper_inside_is_found() -> None:
    env = Sb3VecEnv(same_step(lambda: Monitor(gymnasium.make("CartPole-v1")), 2))
    assert env.env_is_wrapped(Monitor) == [True, True]


def test_dict_observations_keep_their_names() -> None:
    def make() -> gymnasium.Env[Any, Any]:
        plain = gymnasium.make("CartPole-v1", max_episode_steps=3)
        space = spaces.Dict({"state": plain.observation_space})
        return gymnasium.wrappers.TransformObservation(plain, lambda seen: {"state": seen}, space)

    env = Sb3VecEnv(same_step(make, 2))
    assert set(env.reset()) == {"state"}
    infos = steps(env, 3)[-1][3]
    assert infos[0]["terminal_observation"]["state"].shape == (4,)


def test_another_autoreset_mode_is_refused() -> None:
    with pytest.raises(SpecError, match=r"SAME_STEP .*; make it with autoreset_mode=\"SAME_STEP\"$"):
        Sb3VecEnv(SyncVectorEnv([lambda: Scripted(((2, True),))]))


def test_a_fleet_reports_its_metrics_at_the_end_of_an_episode(engine: str) -> None:
    env = Sb3VecEnv(FleetVectorEnv("tiny", 2, engine=engine, autoreset_mode=AutoresetMode.SAME_STEP))
    env.seed(0)
    env.reset()
    idle = np.zeros((2, *env.action_space.shape), np.float32)
    results = [env.step(idle) for _ in range(60)]
    assert not any(results[-2][2])
    assert all(results[-1][2])
    for row in results[-1][3]:
        assert row["TimeLimit.truncated"]
        assert row["episode"]["l"] == 60
        assert row["episode_metrics"]["return"] == pytest.approx(row["episode"]["r"])
        assert row["episode_metrics"]["completed"] > 100
