"""From names and folders to policies with labels; torch networks are tiny and untrained."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.evaluation.test_episodes import numbers
from tokenfleet.cli.candidates import make_candidates, run_folders
from tokenfleet.cli.environments import make_vector_env
from tokenfleet.configs.schema import EvaluateConfig
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.pairing import make_study
from tokenfleet.evaluation.study import run_study

OVERRIDES = {"horizon_ticks": 20}


def config(**changes: Any) -> EvaluateConfig:
    overrides = OVERRIDES | changes.pop("overrides", {})
    scenario = load_scenario(changes.pop("scenario", "tiny"), overrides)
    return EvaluateConfig.parse({"scenario": scenario, "policies": [], **changes})


def environment(wanted: EvaluateConfig, count: int = 1) -> Any:
    return make_vector_env(wanted, count, "test", AutoresetMode.NEXT_STEP)


def candidates(**changes: Any) -> list[Candidate]:
    wanted = config(**changes)
    return make_candidates(wanted, environment(wanted))


def write_checkpoint(
    folder: Path,
    name: str = "ppo",
    seed: int = 0,
    timesteps: int = 0,
    drawn_from: int | None = None,
    limits: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    **algorithm: Any,
) -> Path:
    """A checkpoint of a network as it is before training, its weights drawn from the training seed or from another."""
    from tokenfleet.cli.environments import limited
    from tokenfleet.configs.schema import TrainConfig
    from tokenfleet.policies.learned.algorithms import parse_algorithm
    from tokenfleet.policies.learned.checkpoint import save_checkpoint
    from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
    from tokenfleet.policies.learned.sb3 import build_model, make_vec_env

    wanted = config(overrides=overrides or {})
    spec = parse_algorithm({"name": name, **algorithm})
    env = make_vector_env(wanted, 2, "train", AutoresetMode.SAME_STEP)
    plan = TrainConfig.parse(
        {"scenario": wanted.scenario, "algo": {"name": name}, "total_timesteps": 1, "limits": limits or {}}
    )
    env = limited(plan, env)
    model = build_model(spec, make_vec_env(env, spec), seed if drawn_from is None else drawn_from, "cpu")
    assert wanted.scenario is not None
    scenario = wanted.scenario.model_dump(mode="json")
    origin = TrainingOrigin(environment=wanted.env.id, scenario=scenario, training_seed=seed, timesteps=timesteps)
    save_checkpoint(folder, model, spec, origin)
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two seeds of PPO, their best checkpoints of different age, and one with another discount."""
    folder = tmp_path_factory.mktemp("sweep")
    write_checkpoint(folder / "0" / "checkpoints" / "best", seed=0, timesteps=10)
    write_checkpoint(folder / "1" / "checkpoints" / "best", seed=1, timesteps=20)
    write_checkpoint(folder / "2" / "checkpoints" / "best", seed=0, drawn_from=2, gamma=0.9)
    (folder / "notes").mkdir()
    return folder


def test_baselines_are_called_by_their_names_and_numbered_when_they_repeat() -> None:
    choices = ["least_work", {"name": "least_work", "clocking": "full"}, "max_clock"]
    assert [one.label for one in candidates(policies=choices)] == ["least_work", "least_work-2", "max_clock"]
    assert not any(one.learned for one in candidates(policies=choices))


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        candidates(policies=["least_wrk", "max_clock", {"name": "careful_operator", "speed": 1}])
    assert len(caught.value.problems) == 2
    assert "did you mean 'least_work'" in caught.value.problems[0]


def test_something_must_be_evaluated() -> None:
    with pytest.raises(SpecError, match="nothing to evaluate"):
        candidates()


def test_checkpoints_are_called_by_algorithm_and_seed_and_grouped_by_recipe(sweep: Path) -> None:
    found = candidates(checkpoint=str(sweep))
    assert [(one.label, one.algorithm, one.training_seed) for one in found] == [
        ("ppo-seed0", "ppo", 0),
        ("ppo-seed1", "ppo", 1),
        ("ppo-seed0-2", "ppo-2", 0),
    ]
    assert all(one.learned for one in found)
    assert run_folders(found)["ppo-seed1"] == sweep / "1"


@pytest.fixture(scope="module")
def run_of_one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best and last checkpoints hold different weights."""
    folder = tmp_path_factory.mktemp("run")
    write_checkpoint(folder / "checkpoints" / "best", seed=4, timesteps=10)
    write_checkpoint(folder / "checkpoints" / "last", seed=4, timesteps=20, drawn_from=5)
    return folder


def test_weights_that_are_named_twice_are_one_candidate(
    run_of_one_seed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = run_of_one_seed / "checkpoints" / "best"
    shutil.copytree(best, tmp_path / "copy")
    found = candidates(checkpoint=[str(best), str(run_of_one_seed), str(tmp_path / "copy")])
    assert [one.source["checkpoint"] for one in found] == [str(best)]
    assert [record.getMessage() for record in caplog.records] == [
        f"checkpoint: {again} holds the weights of {best}, and is evaluated once"
        for again in (run_of_one_seed, tmp_path / "copy")
    ]


def test_a_baseline_that_is_named_twice_is_one_candidate(caplog: pytest.LogCaptureFixture) -> None:
    found = candidates(policies=["max_clock", {"name": "max_clock"}, {"name": "least_work", "clocking": "full"}])
    assert [one.label for one in found] == ["max_clock", "least_work"]
    assert "policies: max_clock is named twice, and is evaluated once" in caplog.text


def test_two_checkpoints_of_one_run_are_compared_and_not_pooled(
    run_of_one_seed: Path, sweep: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [str(run_of_one_seed / "checkpoints" / name) for name in ("best", "last")]
    wanted = config(checkpoint=[*parts, str(run_of_one_seed), str(sweep / "1")])
    found = make_candidates(wanted, environment(wanted))
    rows = run_study(lambda count: environment(wanted, count), found, 2, 0)
    assert {method.name: method.policies for method in make_study(rows).methods} == {
        "ppo": ("ppo-seed4", "ppo-seed1"),
        "ppo-seed4-2": ("ppo-seed4-2",),
    }
    assert f"{parts[0]} and {parts[1]} were trained with one seed, 4" in caplog.text


@pytest.mark.parametrize("part", ["1", "1/checkpoints/best"])
def test_a_run_or_a_checkpoint_folder_will_do(sweep: Path, part: str) -> None:
    found = candidates(checkpoint=[str(sweep / part)])
    assert [one.label for one in found] == ["ppo-seed1"]
    assert run_folders(found) == {"ppo-seed1": sweep / "1"}


def test_a_checkpoint_of_other_spaces_names_both_scenarios(sweep: Path) -> None:
    with pytest.raises(SpecError) as caught:
        candidates(checkpoint=str(sweep / "0"), scenario="default")
    message = str(caught.value)
    assert "scenario=tiny" in message
    assert "scenario=default" in message
    assert str(sweep / "0") in message


def test_a_checkpoint_of_another_scenario_with_the_same_spaces_is_announced(
    sweep: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        candidates(checkpoint=str(sweep / "0"))
        assert not caplog.records
        candidates(checkpoint=str(sweep / "0"), overrides={"sites.lab.grid.cap_fraction": 0.5})
    assert "another scenario than this one (scenario.sites.lab.grid.cap_fraction)" in caplog.text


def test_a_checkpoint_of_the_same_scenario_in_other_words_is_of_the_same_method(
    sweep: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reworded = write_checkpoint(tmp_path / "4", seed=4, overrides={"description": "The same fleet in other words."})
    with caplog.at_level(logging.WARNING):
        found = candidates(checkpoint=[str(sweep / "1"), str(reworded)])
    assert not caplog.records
    assert [(one.label, one.algorithm) for one in found] == [("ppo-seed1", "ppo"), ("ppo-seed4", "ppo")]


@pytest.mark.parametrize(("damage", "message"), [
    ("gone", "no such folder"),
    ("empty", "meta.json is missing"),
    ("weights", "does not match its hash"),
    ("meta", "does not match its hash"),
    ("zip", "can run code"),
])  # fmt: skip
def test_a_checkpoint_that_cannot_be_read_is_the_users_mistake(tmp_path: Path, damage: str, message: str) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    if damage == "gone":
        folder = tmp_path / "nothing"
    elif damage == "empty":
        (folder / "meta.json").unlink()
    elif damage == "weights":
        weights = folder / "policy.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    elif damage == "meta":
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps(meta | {"surprise": 1}))
    else:
        folder = tmp_path / "model.zip"
        folder.write_bytes(b"PK")
    with pytest.raises(SpecError, match=message):
        candidates(checkpoint=str(folder))


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "sac"])
def test_a_network_gives_the_same_rows_in_batches_of_any_size(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / name, name)
    wanted = config(checkpoint=str(folder))
    found = make_candidates(wanted, environment(wanted))[0]
    rows = [evaluate_policy(lambda n: environment(wanted, n), found, 7, 1, batch_size=size) for size in (64, 3)]
    assert numbers(rows[0]) == numbers(rows[1])


def test_sampled_actions_follow_the_seeds_and_not_what_ran_before(sweep: Path) -> None:
    wanted = config(checkpoint=str(sweep / "0"), deterministic=False)
    found = make_candidates(wanted, environment(wanted))[0]

    def rows(seed: int, deterministic: bool = False) -> Any:
        made = evaluate_policy(lambda n: environment(wanted, n), found, 3, seed, deterministic=deterministic)
        return numbers(made)

    first = rows(1)
    rows(2)
    assert rows(1) == first
    assert rows(1, deterministic=True) != first
    assert np.isfinite([values["return"] for _, values in first]).all()


RANGE = {"above_cap_s": [10.0, 60.0]}


def test_a_checkpoint_that_sees_a_limit_is_a_candidate_for_each_that_is_named(tmp_path: Path) -> None:
    for seed in range(2):
        write_checkpoint(tmp_path / str(seed), seed=seed, limits=RANGE)
    write_checkpoint(tmp_path / "free")
    found = candidates(checkpoint=[str(tmp_path)], limits={"above_cap_s": [20, 60]})
    assert [one.label for one in found] == [
        "ppo@above_cap_s=20-seed0",
        "ppo@above_cap_s=60-seed0",
        "ppo@above_cap_s=20-seed1",
        "ppo@above_cap_s=60-seed1",
        "ppo-seed0",
    ]
    # Training seeds are one method at one limit, and another at another.
    assert [one.algorithm for one in found] == [*["ppo@above_cap_s=20", "ppo@above_cap_s=60"] * 2, "ppo"]
    assert len({one.policy_hash for one in found}) == 5
    assert found[1].source["limits"] == {"above_cap_s": 60.0}


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({}, r"limits\.above_cap_s: missing; the policy was trained for 10 to 60"),
        ({"above_cap_s": 5}, r"limits\.above_cap_s: must lie in the range .* 10 to 60 \(got 5\) \(checkpoint "),
        (
            {"above_cap_s": 20, "slo_attainment": {"chat-8b": 0.9}},
            r"limits\.slo_attainment\.chat-8b: no checkpoint here was trained for a range of it",
        ),
    ],
)
def test_a_limit_that_a_checkpoint_does_not_serve_is_refused(
    limits: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "run", limits=RANGE)
    with pytest.raises(SpecError, match=problem):
        candidates(checkpoint=[str(tmp_path / "run")], limits=limits)
