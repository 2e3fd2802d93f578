"""A network that corrects a base: it begins as the base, travels with it, and goes on after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from tests.policies.interruptions import assert_same_run, score_in, short_job, train, train_with_power_cuts
from tests.policies.toys import Target, job_on, same_step, small_algorithm
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.learned.checkpoint import load_policy, save_checkpoint
from tokenfleet.policies.learned.correction import Base, CorrectedEnv
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.training import make_model
from tokenfleet.policies.registry import Choice

RULE = {"name": "supervisor", "backlog_limit_s": 3.0, "awake_replicas": {"lab-8b": 1.0}}
CONTINUOUS = ("ppo", "a2c", "recurrent_ppo", "paired_ppo", "sac", "td3", "tqc", "cma_es")
FEEDBACK = {
    "name": "linear_feedback",
    "gains": {"backlog_limit_s": {"chat-8b": {"demand": 0.4}}},
    "scale": {"demand": {"class chat-8b": {"mean": 2.0, "deviation": 2.0}}},
}
"""A base that remembers."""
OVERRIDES = {"horizon_ticks": 35, "sites.lab.grid.demand_response": []}


def fleets(num_envs: int = 2, mode: AutoresetMode = AutoresetMode.SAME_STEP, **changes: Any) -> FleetVectorEnv:
    parts = {"action": "setpoints", "observation": "supervisor", **changes}
    return FleetVectorEnv("tiny", num_envs, overrides=OVERRIDES, autoreset_mode=mode, **parts)


def values_of(policy: Any) -> list[float]:
    def make_env(count: int) -> FleetVectorEnv:
        return fleets(count, AutoresetMode.NEXT_STEP)

    return [row.metrics["net_value_usd"] for row in evaluate_policy(make_env, Candidate(policy, "policy"), 3, 0)]


def model_on(base: Base, name: str = "ppo", **changes: Any) -> tuple[Any, Any]:
    algorithm = small_algorithm(name, normalize={"norm_obs": True}, **changes)
    return make_model(job_on(CorrectedEnv(fleets(), base), algorithm)), algorithm


@pytest.mark.parametrize("name", CONTINUOUS)
def test_training_begins_at_the_base_exactly(name: str) -> None:
    model, _ = model_on(Base(1.0, RULE), name)
    rule = make_policy(RULE, PolicyContext.from_env(fleets(1)))
    assert values_of(NetworkPolicy.of_model(model)) == values_of(rule)


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "cma_es"])
def test_a_base_that_remembers_is_corrected_from_its_own_value_on(name: str) -> None:
    model, _ = model_on(Base(1.0, FEEDBACK), name)
    assert values_of(NetworkPolicy.of_model(model)) == values_of(
        make_policy(FEEDBACK, PolicyContext.from_env(fleets(1)))
    )


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "cma_es"])
def test_a_checkpoint_holds_what_is_corrected(name: str, tmp_path: Path) -> None:
    model, algorithm = model_on(Base(0.5, RULE), name)
    model.learn(64)
    save_checkpoint(tmp_path / "first", model, algorithm, job_on(fleets(), algorithm).origin)
    loaded = load_policy(tmp_path / "first")
    assert (
        values_of(loaded)
        == values_of(NetworkPolicy.of_model(model))
        != values_of(make_policy(RULE, PolicyContext.from_env(fleets(1))))
    )
    # And is a base itself, whole.
    again, algorithm = model_on(Base(1.0, learned=loaded), "a2c")
    save_checkpoint(tmp_path / "second", again, algorithm, job_on(fleets(), algorithm).origin)
    (tmp_path / "first" / "policy.safetensors").unlink()
    assert values_of(load_policy(tmp_path / "second")) == values_of(loaded)


def test_a_rule_that_sets_controls_is_corrected_at_every_tick() -> None:
    env = fleets(action="direct", observation=None)
    model = make_model(job_on(CorrectedEnv(env, Base(1.0, "feedback_capping")), small_algorithm("ppo")))
    policy = NetworkPolicy.of_model(model)
    policy.prepare(env)
    rule = make_policy("feedback_capping", PolicyContext.from_env(env))
    observation, _ = env.reset(seed=0)
    state = expected_state = None
    for step in range(5):
        starts = np.full(2, step == 0)
        actions, state = policy.predict(observation, state, starts, deterministic=True)
        expected, expected_state = rule.predict(observation, expected_state, starts, deterministic=True)
        np.testing.assert_array_equal(actions, expected)
        observation, *_ = env.step(actions)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ppo", "greedy_efficiency"),
        ("recurrent_ppo", "greedy_efficiency"),
        ("cma_es", "greedy_efficiency"),
        ("ppo", FEEDBACK),
    ],
)
def test_a_run_that_dies_twice_ends_as_one_that_did_not(name: str, rule: Choice, tmp_path: Path) -> None:
    def corrected() -> CorrectedEnv:
        return CorrectedEnv(fleets(action="direct", observation=None), Base(1.0, rule))

    def score(policy: Any) -> dict[str, float]:
        policy.prepare(fleets(action="direct", observation=None))
        return score_in(corrected)(policy)

    train(short_job(name, corrected, score), tmp_path / "whole")
    train_with_power_cuts(lambda validate: short_job(name, corrected, validate), score, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_checkpoint_keeps_a_number_of_its_base_that_has_no_end(tmp_path: Path) -> None:
    """JSON has no infinity, and a limit that is off is infinite in what a search writes."""
    rule = {"name": "supervisor", "backlog_limit_s": {"chat-8b": float("inf")}}
    model, algorithm = model_on(Base(1.0, rule), "cma_es")
    save_checkpoint(tmp_path, model, algorithm, job_on(fleets(), algorithm).origin)
    loaded = load_policy(tmp_path)
    loaded.prepare(fleets(1))
    assert values_of(loaded) == values_of(make_policy(rule, PolicyContext.from_env(fleets(1))))


def test_a_correction_is_cut_to_the_box_and_scaled_by_its_reach() -> None:
    class Echo(Target):
        def step(self, action: Any) -> Any:
            seen = np.array(action)
            observation, _, terminated, truncated, info = super().step(action)
            return observation, float(seen[0]), terminated, truncated, info

    env = CorrectedEnv(same_step(Echo, 1), Base(0.5, "tests.policies.test_correction:Constant"))
    env.reset(seed=0)
    rewards = [env.step(np.array([[correction, 0.0]], np.float32))[1][0] for correction in (0.0, -0.4, 1.0)]
    assert rewards == pytest.approx([0.75, 0.55, 1.0])


class Constant:
    """A policy of a user that always does the same."""

    def __init__(self, context: PolicyContext) -> None:
        self.context = context

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        return np.full((len(observation), 2), 0.75, np.float32), None


def test_a_stranger_may_not_name_code_as_a_base(tmp_path: Path) -> None:
    env = CorrectedEnv(same_step(Target, 2), Base(1.0, {"name": "tests.policies.test_correction:Constant"}))
    algorithm = small_algorithm("a2c")
    save_checkpoint(tmp_path, make_model(job_on(env, algorithm)), algorithm, job_on(env, algorithm).origin)
    with pytest.raises(SpecError, match=r"names code that would run \(tests\.policies\.test_correction:Constant\)"):
        load_policy(tmp_path)
    assert load_policy(tmp_path, trust="tests").base is not None


def test_a_policy_with_a_base_asks_for_its_place(tmp_path: Path) -> None:
    model, _ = model_on(Base(1.0, RULE))
    with pytest.raises(SpecError, match=r"call prepare\(env\)"):
        NetworkPolicy.of_model(model).predict(np.zeros(model.observation_space.shape, np.float32))


def test_only_boxes_around_zero_are_corrected() -> None:
    class Lopsided(Target):
        action_space = spaces.Box(0.0, 1.0, (2,), np.float32)

    for env in (same_step(Lopsided, 2), gymnasium.make_vec("CartPole-v1", 2)):
        with pytest.raises(SpecError, match=r"policy\.base: only actions in a box around 0"):
            CorrectedEnv(env, Base(1.0, "random"))
