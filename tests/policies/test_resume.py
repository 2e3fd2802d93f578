"""A run that died and was resumed ends exactly like an uninterrupted one: the same weights, log and best checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from tests.policies.interruptions import (
    ENVIRONMENTS,
    PowerCut,
    assert_same_run,
    damage,
    dies_after,
    fleets,
    score_in,
    short_job,
    train,
    train_with_power_cuts,
)
from tests.policies.toys import Target, job_on, same_step, small_algorithm, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.resume import Snapshots
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.training import make_model, train_policy
from tokenfleet.policies.learned.training_state import can_restore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[], Any]], Path]:
    """The run of an algorithm in an environment that nothing interrupts."""

    @cache
    def run(name: str, make_env: Callable[[], Any]) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        train(short_job(name, make_env, score_in(make_env)), folder)
        return folder

    return run


@pytest.mark.parametrize(("name", "make_env"), ENVIRONMENTS)
def test_a_run_that_dies_twice_ends_as_one_that_did_not(
    name: str, make_env: Callable[[], Any], whole: Any, tmp_path: Path
) -> None:
    train_with_power_cuts(lambda validate: short_job(name, make_env, validate), score_in(make_env), tmp_path)
    assert_same_run(whole(name, make_env), tmp_path)


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_run_whose_newest_snapshot_is_damaged_ends_the_same(name: str, whole: Any, tmp_path: Path) -> None:
    score = score_in(fleets)
    with pytest.raises(PowerCut):
        train(short_job(name, fleets, dies_after(2, score)), tmp_path)
    older, newer = sorted((tmp_path / "snapshots").iterdir())
    damage(newer / "state.json")
    train(short_job(name, fleets, score), tmp_path)
    assert_same_run(whole(name, fleets), tmp_path)
    assert older.name not in {folder.name for folder in (tmp_path / "snapshots").iterdir()}


def test_a_snapshot_that_restarts_environments_waits_until_every_one_has_ended_an_episode(tmp_path: Path) -> None:
    class Watched(Snapshots):
        written: list[int] = []  # noqa: RUF012

        def write(self, steps: int, state: Any) -> None:
            self.written.append(steps)
            super().write(steps, state)

    def snapshots(length: int) -> list[int]:
        Watched.written.clear()
        job = job_on(same_step(lambda: Target(length), 2), small_algorithm("a2c"), every=128, total=640)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tokenfleet.policies.learned.callbacks.Snapshots", Watched)
            train_policy(job, make_model(job), tmp_path / str(length))
        return list(Watched.written)

    assert snapshots(length=10) == [128, 256, 384, 512, 640]
    # 150 steps of each of 2 environments are 300; the next update ends at 320.
    assert snapshots(length=150) == [320, 640]


def test_a_fleet_is_restored_inside_wrappers_that_tell_their_state_and_no_others() -> None:
    assert can_restore(Sb3VecEnv(fleets()))
    assert can_restore(Sb3VecEnv(gymnasium.wrappers.vector.RecordEpisodeStatistics(fleets())))
    assert not can_restore(Sb3VecEnv(gymnasium.vector.VectorWrapper(fleets())))


def test_a_damaged_best_checkpoint_is_not_trained_past(tmp_path: Path) -> None:
    job = job_on(same_step(Target, 2), small_algorithm("a2c"), validate=dies_after(2, target_score))
    with pytest.raises(PowerCut):
        train_policy(job, make_model(job), tmp_path)
    damage(tmp_path / "checkpoints" / "best" / "policy.safetensors")
    with pytest.raises(SpecError, match=r"best/policy\.safetensors: does not match .* to go on without the best"):
        train_policy(job, make_model(job), tmp_path)
