"""A run that can learn nothing is known before it begins; stable-baselines3 itself says when that is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.policies.toys import SMALL, Target, job_on, same_step, small_algorithm
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.training import make_model, train_policy
from tokenfleet.policies.learned.updates import FEW_UPDATES, learning_problem, learning_warning, update_plan

FALLING = {"learning_rate": {"initial": 0.01, "final": 0.0}}
BY_GRADIENTS = [name for name in SMALL if update_plan(small_algorithm(name), 4) is not None]
LEARNERS: dict[str, AlgorithmSpec] = {
    **{f"{name} at a constant rate": small_algorithm(name) for name in BY_GRADIENTS},
    **{f"{name} at a falling rate": small_algorithm(name, **FALLING) for name in BY_GRADIENTS},
    "learning that starts at once": small_algorithm("sac", learning_starts=0),
    "learning that starts between two rounds": small_algorithm("tqc", learning_starts=31, train_freq=7, **FALLING),
    "a delayed actor": small_algorithm("td3", policy_delay=5, gradient_steps=2),
    "as many gradient steps as transitions": small_algorithm("td3", policy_delay=5, gradient_steps=-1, train_freq=2),
}


def actor(model: Any) -> dict[str, torch.Tensor]:
    """The weights that decide on actions, and on nothing else where those are apart."""
    network = getattr(model.policy, "actor", model.policy)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changes_the_actor(algorithm: AlgorithmSpec, total_timesteps: int, folder: Path) -> bool:
    job = job_on(same_step(Target, 4), algorithm, total=total_timesteps, every=10_000)
    model = make_model(job)
    before = actor(model)
    train_policy(job, model, folder)
    return any(not torch.equal(before[name], after) for name, after in actor(model).items())


@pytest.mark.parametrize("case", LEARNERS)
def test_the_least_number_of_steps_is_the_least_at_which_the_policy_changes(case: str, tmp_path: Path) -> None:
    plan = update_plan(LEARNERS[case], 4)
    assert plan is not None
    least = plan.least_timesteps(1)
    assert changes_the_actor(LEARNERS[case], least, tmp_path / "enough")
    assert plan.updates(least) == 1
    if least > 1:
        assert plan.updates(least - 1) == 0
        assert not changes_the_actor(LEARNERS[case], least - 1, tmp_path / "too few")


@pytest.mark.parametrize("case", LEARNERS)
def test_the_least_number_of_steps_for_some_updates_makes_so_many(case: str) -> None:
    plan = update_plan(LEARNERS[case], 4)
    assert plan is not None
    for updates in (1, 2, 7, FEW_UPDATES):
        least = plan.least_timesteps(updates)
        assert (plan.updates(least), plan.updates(least - 1)) == (updates, updates - 1)


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_a_run_without_an_update_is_refused_and_one_with_few_is_warned_of(name: str) -> None:
    algorithm = parse_algorithm({"name": name, **FALLING})
    plan = update_plan(algorithm, 64)
    assert plan is not None
    problem = learning_problem(algorithm, 64, plan.least_timesteps(1) - 1)
    assert problem is not None
    assert f"give at least {plan.least_timesteps(1)} " in problem
    assert f"algo.{plan.key}" in problem
    assert learning_problem(algorithm, 64, plan.least_timesteps(1)) is None
    assert "1 update of" in str(learning_warning(algorithm, 64, plan.least_timesteps(1)))
    assert learning_warning(algorithm, 64, plan.least_timesteps(FEW_UPDATES)) is None


def test_a_rate_that_stays_learns_in_the_only_rollout() -> None:
    assert learning_problem(parse_algorithm({"name": "ppo"}), 64, 1) is None
