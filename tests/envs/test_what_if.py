"""What `simulate` answers is what would happen, and asking changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import ENGINE
from tests.envs.batches import assert_same, batch, random_actions
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy


def under_way(num_envs: int = 3, ticks: int = 12, **arguments: Any) -> FleetVectorEnv:
    envs = batch(num_envs, overrides={"horizon_ticks": 40}, **arguments)
    envs.reset(seed=4)
    for action in np.abs(random_actions(envs, ticks)):
        envs.step(action)
    return envs


def candidates(envs: FleetVectorEnv, *shape: int) -> np.ndarray:
    return np.random.default_rng(9).uniform(-1, 1, (*shape, *envs.single_action_space.shape)).astype(np.float32)  # type: ignore[misc]


@pytest.mark.parametrize(("reward", "ticks"), [("net_value", 8), ("certain_value", 8), ("certain_value", 28)])
def test_every_branch_is_what_happens(reward: str, ticks: int) -> None:
    envs = under_way(reward=reward)
    plans = candidates(envs, 3, 4)
    answer = envs.simulate(plans, ticks)
    held = envs.snapshot()
    assert answer.reward.shape == (3, 4, 1)
    for branch in range(4):
        observations = envs.restore(held)
        rewards = np.zeros(3)
        for _ in range(ticks):
            observations, earned, *_ = envs.step(plans[:, branch])
            rewards += earned
        assert_same(answer.reward[:, branch, 0], rewards)
        assert_same(answer.observations[:, branch, 0], observations)
        for fleet in range(3):
            assert_same(answer.view(fleet, branch).rows[0], envs.engine.view.rows[fleet])


def test_asking_changes_nothing() -> None:
    envs, twin = under_way(), under_way()
    envs.simulate(candidates(envs, 2), 50, futures=["same", 1, 2])
    for action in random_actions(envs, 40):
        assert_same(envs.step(action), twin.step(action))


def test_a_policy_can_be_asked_and_can_take_over() -> None:
    envs = under_way()
    policy: Any = make_policy("feedback_capping", PolicyContext.from_env(envs))
    action = candidates(envs, 2)
    answer = envs.simulate([action, action], 9, then=policy)
    for branch in range(2):
        held = envs.snapshot()
        rewards, state, begins = np.zeros(3), None, np.ones(3, bool)
        observations = None
        for tick in range(9):
            if tick < 2:
                actions = np.broadcast_to(action[branch], envs.action_space.shape or ())
            else:
                actions, state = policy.predict(observations, state, begins, deterministic=True)
                begins = np.zeros(3, bool)
            observations, reward, *_ = envs.step(np.asarray(actions))
            rewards += reward
        assert_same(answer.reward[:, branch, 0], rewards)
        envs.restore(held)
    assert envs.simulate(policy, 5).reward.shape == (3, 1, 1)
    assert envs.simulate(policy, 5, branches=2, futures=[1, 2, 3]).reward.shape == (3, 2, 3)


def test_rows_of_controls_are_branches_of_all_fleets_or_of_each_as_branches_says() -> None:
    envs = FleetVectorEnv("tiny", 2)
    envs.reset(seed=0)
    rows = envs.action_model.decode(np.linspace(-1.0, 1.0, 4)[:, None] * np.ones(envs.action_model.space.shape))
    four = envs.simulate(rows, 8, branches=4).reward
    two = envs.simulate(rows, 8).reward
    assert (four.shape, two.shape) == ((2, 4, 1), (2, 2, 1))
    assert_same(two[0], four[0, :2])
    assert_same(two[1], four[1, 2:])


def test_branches_meet_the_same_futures_and_seeds_are_futures() -> None:
    envs = under_way()
    action = candidates(envs, 1)
    answer = envs.simulate(np.concatenate([action, action]), 20, futures=[5, 6, 5, "same"])
    assert_same(answer.reward[:, 0], answer.reward[:, 1])
    assert_same(answer.reward[:, :, 0], answer.reward[:, :, 2])
    assert len({answer.reward[0, 0, future] for future in range(4)}) == 3
    alone = envs.simulate(action, 20, futures=6, fleets=[1])
    assert_same(alone.reward[0, 0], answer.reward[1, 0, 1:2])


def test_the_value_is_that_of_the_simulated_ticks_and_ends_with_the_episode() -> None:
    envs = under_way(reward_scale=1.0)
    action = candidates(envs, 2)
    short, long = envs.simulate(action, 6), envs.simulate(action, 1000)
    np.testing.assert_allclose(short.value_usd, short.reward, rtol=1e-9, atol=1e-12)
    assert (short.ticks == 6).all()
    assert not short.ended.any()
    assert (long.ticks == 28).all()
    assert long.ended.all()
    assert long.metrics.keys() == short.metrics.keys()
    np.testing.assert_array_equal(long.best(), long.reward[:, :, 0].argmax(axis=1))


def test_fleets_at_different_ticks_are_simulated_side_by_side() -> None:
    envs = under_way()
    for _ in range(20):
        envs.step(np.zeros(envs.action_space.shape or (), np.float32))
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    answer = envs.simulate(candidates(envs, 2), 35, futures=["same", 3])
    assert answer.ticks[:, 0, 0].tolist() == [8, 35, 8]
    alone = envs.simulate(candidates(envs, 2), 35, futures=["same", 3], fleets=[1])
    assert_same(alone.reward[0], answer.reward[1])


def test_threads_do_not_change_an_answer() -> None:
    answers = []
    for threads in (1, 3):
        envs = under_way(engine="native", threads=threads)
        answers.append(envs.simulate(candidates(envs, 4), 15, futures=[1, "same"]))
    assert_same(answers[0].reward, answers[1].reward)


def test_controls_in_physical_units_can_be_asked() -> None:
    envs = under_way()
    controls = Controls.neutral(2, envs.scenario.route_mask.astype(float))
    assert envs.simulate(controls, 4).reward.shape == (3, 2, 1)
    single = FleetEnv("tiny", engine=ENGINE)
    single.reset(seed=0)
    assert single.simulate(controls, 4, futures=[1, 2]).reward.shape == (1, 2, 2)


def test_plans_that_cannot_be_are_refused() -> None:
    envs = under_way()
    action = candidates(envs, 2)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"plan": action[:, :-1]}, "plan: must be a policy, which has `predict`, Controls, or actions of shape"),
        ({"plan": "operator"}, r"plan: must be a policy.* \(got 'operator'\)"),
        ({"plan": [action, action[:1]]}, r"plan: every tick must decide for 2 branches \(got 1\)"),
        ({"plan": []}, "plan: must decide for one tick at least"),
        ({"horizon": 0}, r"horizon: must be a positive number of ticks \(got 0\)"),
        ({"futures": "true"}, r"futures: must be 'same', a seed \(0 or more\), or a list of these \(got 'true'\)"),
        ({"futures": []}, "futures: must be at least one"),
        ({"futures": -1}, r"futures: must be 'same', a seed"),
        ({"fleets": []}, "fleets: must be at least one"),
        ({"fleets": [0.7]}, r"fleets: must be a list of numbers of fleets, such as \[0\] \(got \[0.7\]\)"),
        ({"plan": candidates(envs, 2, 2)}, r"plan: must have actions for each of 3 fleets \(got 2\)"),
        ({"plan": [action], "then": 5}, r"then: must be a policy, which has `predict` \(got 5\)"),
        ({"branches": 3}, r"branches: must be as many as the plan has, 2 \(got 3\)"),
        ({"branches": 0}, r"branches: must be a positive number, or None \(got 0\)"),
    ]
    for arguments, message in wrong:
        with pytest.raises(SpecError, match=message):
            envs.simulate(**{"plan": action, "horizon": 3, **arguments})
    with pytest.raises(IndexError, match=r"^fleets: must be from 0 to 2, as there are 3 fleets \(got 3\)$"):
        envs.simulate(action, 3, fleets=[3])
    with pytest.raises(IndexError, match=r"\(0, 2, 0\): this answer has \(3, 2, 1\) of them"):
        envs.simulate(action, 3).view(branch=2)
    for _ in range(28):
        envs.step(random_actions(envs, 1)[0])
    with pytest.raises(SpecError, match=r"fleets: the episodes of fleets \[0, 1, 2\] have ended"):
        envs.simulate(action, 3)
