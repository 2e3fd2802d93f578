"""Training learns, keeps what it promises to keep, and looks at the clock for nothing but speed."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.policies.toys import SMALL, Scripted, Target, job_on, same_step, small_algorithm, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithms import ALGORITHMS, parse_algorithm
from tokenfleet.policies.learned.checkpoint import load_policy
from tokenfleet.policies.learned.named_values import schedule
from tokenfleet.policies.learned.progress_log import ProgressLog
from tokenfleet.policies.learned.recipes import RECIPES
from tokenfleet.policies.learned.sb3 import build_model, check_spaces, make_vec_env
from tokenfleet.policies.learned.tracking import TensorBoardTracking
from tokenfleet.policies.learned.training import TrainingJob, TrainingResult, make_model, train_policy
from tokenfleet.policies.parameters import keyword_parameters


def run(job: TrainingJob, folder: Path) -> TrainingResult:
    return train_policy(job, make_model(job), folder)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        return list(csv.DictReader(file))


def test_ppo_learns_to_say_what_it_sees(tmp_path: Path) -> None:
    algorithm = parse_algorithm({"name": "ppo", "n_steps": 64, "batch_size": 128, "learning_rate": 3e-3, "gamma": 0.0})
    job = job_on(same_step(Target, 8), algorithm, total=10_000, validate=target_score, every=5_000)
    fresh = target_score(make_model(job))["return"]
    result = run(job, tmp_path)
    assert fresh < -0.8
    assert result.score > -0.35
    assert target_score(load_policy(tmp_path))["return"] == pytest.approx(result.score)


@pytest.mark.parametrize("name", SMALL)
def test_every_algorithm_trains_and_leaves_checkpoints(name: str, tmp_path: Path) -> None:
    result = run(job_on(same_step(Target, 2), small_algorithm(name), validate=target_score), tmp_path)
    assert result.timesteps >= 400
    for kind in ("best", "last"):
        assert load_policy(tmp_path / "checkpoints" / kind).meta.algorithm.name == name
    assert {"steps", "episode/return", "validation/return", "time/steps_per_s"} <= set(rows_of(tmp_path)[-1])


def test_the_best_checkpoint_is_of_the_best_validation(tmp_path: Path) -> None:
    scores = iter([1.0, 5.0, 3.0, math.nan, 5.0])
    job = job_on(same_step(Target, 2), small_algorithm("a2c"), total=500, validate=lambda _: {"return": next(scores)})
    result = run(job, tmp_path)
    best, last = (load_policy(tmp_path / "checkpoints" / kind).meta.origin for kind in ("best", "last"))
    steps = [int(row["steps"]) for row in rows_of(tmp_path) if row["validation/return"]]
    assert result.score == 5.0
    assert (best.timesteps, best.validation_return) == (steps[1], 5.0)
    assert last.timesteps == result.timesteps


def test_without_validation_the_score_is_the_mean_training_return(tmp_path: Path) -> None:
    result = run(job_on(same_step(lambda: Scripted(((4, True),)), 2), small_algorithm("ppo")), tmp_path)
    assert result.score == 4.0
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_what_environments_say_of_their_episodes_is_logged(tmp_path: Path) -> None:
    run(job_on(same_step(lambda: Scripted(((4, True),)), 2), small_algorithm("ppo"), total=128), tmp_path)
    # 2 environments, 64 steps each, 4 a piece: 16 episodes each, numbered from 0.
    assert float(rows_of(tmp_path)[-1]["episode/score"]) == pytest.approx(np.mean(range(16)))


def test_tensorboard_files_are_written_on_demand(tmp_path: Path) -> None:
    job = job_on(same_step(Target, 2), small_algorithm("a2c"), total=128)
    run(job, tmp_path / "without")
    assert not (tmp_path / "without" / "tensorboard").exists()
    run(TrainingJob(**{**vars(job), "env": same_step(Target, 2), "tracking": TensorBoardTracking()}), tmp_path / "with")
    assert list((tmp_path / "with" / "tensorboard").glob("events*"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    def weights(folder: str, seed: int) -> bytes:
        job = job_on(same_step(Target, 2), small_algorithm("ppo"), total=128)
        run(
            TrainingJob(**{**vars(job), "origin": job.origin.model_copy(update={"training_seed": seed})}),
            tmp_path / folder,
        )
        return (tmp_path / folder / "checkpoints" / "last" / "policy.safetensors").read_bytes()

    assert weights("a", 0) == weights("b", 0) != weights("c", 1)


def test_a_progress_log_takes_new_columns_and_old_contents(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path / "progress.csv")
    log.write({"loss": 0.1}, {}, 10)
    before = log.content()
    log.write({"loss": 0.2, "return": 3, "text": "no number"}, {}, 20)
    assert (tmp_path / "progress.csv").read_text() == "steps,loss,return\n10,0.1,\n20,0.2,3\n"
    log.restore(before)
    log.write({"loss": 0.3}, {}, 30)
    assert (tmp_path / "progress.csv").read_text() == log.content() == "steps,loss\n10,0.1\n30,0.3\n"


def test_a_schedule_falls_in_a_straight_line() -> None:
    falling = schedule(parse_algorithm({"name": "ppo", "learning_rate": {"initial": 1.0, "final": 0.5}}).learning_rate)
    assert [falling(remaining) for remaining in (1.0, 0.5, 0.0, -0.1)] == [1.0, 0.75, 0.5, 0.5]
    assert schedule(parse_algorithm({"name": "ppo", "learning_rate": 0.2}).learning_rate)(0.0) == 0.2


def test_there_is_a_recipe_for_every_algorithm() -> None:
    assert set(RECIPES) == set(ALGORITHMS) == {*SMALL, "custom"}


@pytest.mark.parametrize("name", SMALL)
def test_recipes_say_only_what_the_library_knows(name: str) -> None:
    known, _ = keyword_parameters(RECIPES[name].model(ALGORITHMS[name](name=name)), 0)
    assert set(RECIPES[name].arguments(ALGORITHMS[name](name=name), Target.action_space)) <= set(known)


@pytest.mark.parametrize("name", ["sac", "td3", "tqc"])
def test_continuous_algorithms_refuse_discrete_actions_and_name_those_that_can(name: str) -> None:
    with pytest.raises(SpecError, match=rf"algo\.name: {name} cannot .* Discrete\(2\); choose ppo, a2c, recurrent_ppo"):
        check_spaces(parse_algorithm({"name": name}), Target.observation_space, spaces.Discrete(2))


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (spaces.Tuple([spaces.Discrete(2)]), spaces.Discrete(2), "policies cannot work with Tuple"),
        (spaces.Discrete(3), spaces.Discrete(2), "only Box observations can be normalised"),
        (Target.observation_space, spaces.Box(-np.inf, np.inf, (1,)), "must be bounded"),
        (Target.observation_space, spaces.Text(3), "no algorithm here can"),
    ],
)
def test_spaces_that_cannot_work_are_refused(observation: Any, action: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        check_spaces(parse_algorithm({"name": "ppo", "normalize": {"norm_obs": True}}), observation, action)


def test_a_recipe_of_stable_baselines3_is_taken_as_it_is() -> None:
    """Every hyper-parameter of the recipe becomes the argument of its name."""
    recipe = {"n_steps": 16, "batch_size": 8.0, "n_epochs": 3, "gae_lambda": 0.8, "ent_coef": 1e-3, "vf_coef": 0.4}
    recipe |= {"max_grad_norm": 0.6, "normalize_advantage": False, "target_kl": 0.1}
    network = {"net_arch": [7, 5], "ortho_init": False, "log_std_init": -2.0, "activation_fn": "relu"}
    algorithm = parse_algorithm({"name": "ppo", "policy_kwargs": network, **recipe})
    model: Any = build_model(algorithm, make_vec_env(same_step(Target, 2), algorithm), 0, "cpu")
    assert {name: getattr(model, name) for name in recipe} == recipe
    assert model.policy.net_arch == {"pi": [7, 5], "vf": [7, 5]}
    assert (model.policy.ortho_init, model.policy.activation_fn) == (False, torch.nn.ReLU)
    assert model.rollout_buffer.buffer_size == 16  # of each environment


def test_an_exploration_of_zero_needs_no_noise() -> None:
    model = make_model(job_on(same_step(Target, 2), small_algorithm("td3", action_noise=0.0)))
    assert model.action_noise is None


def test_what_no_checkpoint_could_describe_is_refused_before_training() -> None:
    job = job_on(same_step(Target, 2), small_algorithm("ppo"))
    origin = job.origin.model_copy(update={"environment_kwargs": {"names": ["x" * 99] * 30_000}})
    with pytest.raises(SpecError, match=r"^env: .* bytes; a checkpoint may have 2,097,152$"):
        make_model(TrainingJob(**{**vars(job), "origin": origin}))


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    job = replace(job_on(same_step(Target, 2), parse_algorithm({"name": "ppo"})), device="cuda:2")
    with pytest.raises(SpecError, match=r"^device: cuda:2 is not there \(choose from cpu, cuda:0, cuda:1\)$"):
        make_model(job)
