"""PPO on paired episodes: groups live the same episodes, and advantages lose what the others have at the moment."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.policies.toys import Scripted, Target, job_on, same_step, small_algorithm
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.paired import PairedBuffer, others_mean
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.training import make_model

TOGETHER = np.zeros((1, 4, 2), np.int64)


def test_an_advantage_loses_the_mean_of_the_others_in_its_group() -> None:
    mean = others_mean(np.array([[1.0, 3.0, 10.0, 30.0]], np.float32), TOGETHER, group=2)
    np.testing.assert_array_equal(mean, [[3.0, 1.0, 30.0, 10.0]])
    mean = others_mean(np.array([[1.0, 3.0, 10.0, 30.0]], np.float32), TOGETHER, group=4)
    np.testing.assert_allclose(mean, [[43 / 3, 41 / 3, 34 / 3, 14 / 3]])


def test_who_is_at_another_moment_is_not_compared_with() -> None:
    moments = TOGETHER.copy()
    moments[0, 1] = (1, 0)
    mean = others_mean(np.array([[1.0, 3.0, 10.0, 30.0]], np.float32), moments, group=4)
    np.testing.assert_array_equal(mean, [[20.0, 0.0, 15.5, 5.5]])


def test_what_happens_to_all_of_a_group_leaves_no_trace() -> None:
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32)
    moments = np.zeros((6, 4, 2), np.int64)
    left = own - others_mean(own, moments, 4)
    shifted = own + 100 * common
    np.testing.assert_allclose(shifted - others_mean(shifted, moments, 4), left, atol=1e-4)


def test_a_group_of_fleets_lives_one_episode_after_the_other_together() -> None:
    fleets = FleetVectorEnv("tiny", 4, overrides={"horizon_ticks": 20}, autoreset_mode=AutoresetMode.SAME_STEP)
    env = Sb3VecEnv(fleets, group_size=2)
    env.seed(0)
    env.reset()
    seen = []
    for tick in range(45):
        observation, *_ = env.step(np.zeros(env.action_space.shape)[None].repeat(4, 0))
        np.testing.assert_array_equal(observation[0], observation[1])
        np.testing.assert_array_equal(observation[2], observation[3])
        seen.append(observation)
        assert env.moments().tolist() == [[(tick + 1) // 20, (tick + 1) % 20]] * 4
    assert not np.array_equal(seen[5][0], seen[5][2])  # groups differ
    assert not np.array_equal(seen[5][0], seen[25][0])  # and so do episodes


def test_the_rollout_notes_the_moment_before_each_step() -> None:
    model = make_model(job_on(same_step(lambda: Scripted(((3, True),)), 2), small_algorithm("paired_ppo")))
    model.learn(64)
    buffer = model.rollout_buffer
    assert isinstance(buffer, PairedBuffer)
    assert buffer._moments[:7, 0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0]]


def test_environments_that_do_not_fill_groups_are_refused() -> None:
    with pytest.raises(SpecError, match=r"n_envs: must be a multiple of algo\.group \(2\) \(got 3\); give n_envs=4"):
        make_model(job_on(same_step(Target, 3), small_algorithm("paired_ppo")))
