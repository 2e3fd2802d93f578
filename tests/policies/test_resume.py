"""A run that died and went on ends exactly as one that did not: the same weights, log and best checkpoint."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.conftest import ENGINE
from tests.policies.toys import SMALL, Target, job_on, same_step, small_algorithm, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned import resume
from tokenfleet.policies.learned.callbacks import Cadence
from tokenfleet.policies.learned.resume import Snapshots
from tokenfleet.policies.learned.stopping import Stopped, StopSignals
from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy

TOTAL, EVERY = 256, 64
BETWEEN = Cadence(validate=45, log=85, snapshot=160)
"""What is due at moments of its own; a snapshot at a stop lies between two of these."""
KEPT = ("checkpoints/best/policy.safetensors", "checkpoints/last/policy.safetensors", "checkpoints/best/meta.json")
NORMALISE = {"observation": True, "reward": True}


class PowerCut(BaseException):
    """The process dies here."""


def dies_after(calls: int, validate: Any) -> Any:
    """A validation that the run does not survive the n-th time."""
    left = iter(range(calls))

    def fatal(policy: Any) -> Any:
        if next(left, None) is None:
            raise PowerCut
        return validate(policy)

    return fatal


def progress(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in csv.DictReader(file)]


def assert_same_run(first: Path, second: Path) -> None:
    for name in KEPT:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert progress(first) == progress(second)
    assert len(progress(first)) > 2


def fleet(engine: str) -> FleetVectorEnv:
    overrides = {"horizon_ticks": 35, "sites.lab.grid.demand_response": []}
    return FleetVectorEnv("tiny", 2, overrides=overrides, engine=engine, autoreset_mode=AutoresetMode.SAME_STEP)


def fleets() -> Any:
    return fleet(ENGINE)


def targets() -> Any:
    """Environments that cannot be restored."""
    return same_step(Target, 2)


def score(policy: Any) -> dict[str, float]:
    """The policy's answer to one observation, which tells two policies apart."""
    seen = np.linspace(0, 1, policy.observation_space.shape[0], dtype=np.float32)
    return {"return": float(policy.predict(seen[None], deterministic=True)[0].sum())}


def short_job(name: str, make_env: Callable[[], Any], validate: Any = score) -> TrainingJob:
    algorithm = small_algorithm(name, normalise=NORMALISE)
    return job_on(make_env(), algorithm, total=TOTAL, every=EVERY, validate=validate)


def train(job: TrainingJob, folder: Path) -> None:
    train_policy(job, make_model(job), folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[], Any]], Path]:
    """The run of an algorithm in an environment that nothing interrupts."""

    @cache
    def run(name: str, make_env: Callable[[], Any]) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        train(short_job(name, make_env), folder)
        return folder

    return run


ENVIRONMENTS = [*((name, fleets) for name in SMALL), ("ppo", targets), ("recurrent_ppo", targets), ("sac", targets)]
"""Every algorithm in a fleet, which is restored, and some where the environment starts anew in both runs."""


@pytest.mark.parametrize(("name", "make_env"), ENVIRONMENTS)
def test_a_run_that_dies_twice_ends_as_one_that_did_not(
    name: str, make_env: Callable[[], Any], whole: Any, tmp_path: Path
) -> None:
    """It dies at the second validation and again at the next but one."""
    for calls in (1, 2):
        with pytest.raises(PowerCut):
            train(short_job(name, make_env, dies_after(calls, score)), tmp_path)
    train(short_job(name, make_env), tmp_path)
    assert_same_run(whole(name, make_env), tmp_path)


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


def test_a_fleet_is_restored_inside_wrappers_that_tell_their_state_and_no_others(engine: str) -> None:
    from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
    from tokenfleet.policies.learned.training_state import can_restore

    assert can_restore(Sb3VecEnv(fleet(engine)))
    assert can_restore(Sb3VecEnv(gymnasium.wrappers.vector.RecordEpisodeStatistics(fleet(engine))))
    assert not can_restore(Sb3VecEnv(gymnasium.vector.VectorWrapper(fleet(engine))))


def test_there_is_a_whole_snapshot_whatever_the_moment_of_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.write(1, {"value": np.array([1])})
    survived = []
    for fatal in range(12):
        calls = iter(range(100))

        def dies(original: Any, _calls: Any = calls, _fatal: int = fatal) -> Any:
            def wrapped(*arguments: Any, **keywords: Any) -> Any:
                if next(_calls) == _fatal:
                    raise PowerCut
                return original(*arguments, **keywords)

            return wrapped

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", dies(__import__("os").fsync))
            patch.setattr(Path, "rename", dies(Path.rename))
            patch.setattr(Path, "mkdir", dies(Path.mkdir))
            patch.setattr(resume.shutil, "rmtree", dies(resume.shutil.rmtree))
            try:
                snapshots.write(2 + fatal, {"value": np.array([2 + fatal])})
            except PowerCut:
                survived.append(fatal)
        found = snapshots.newest()
        assert found is not None
        assert found["value"][0] in (1 + fatal, 2 + fatal, 1)
    assert len(survived) >= 5


def damage(file: Path) -> None:
    """Change the last byte."""
    file.write_bytes(file.read_bytes()[:-1] + b"!")


SNAPSHOT_FILES = ("state.json", "state.safetensors", "SHA256SUMS")


@pytest.mark.parametrize("name", SNAPSHOT_FILES)
def test_damage_to_the_newest_snapshot_is_said_and_the_one_before_it_is_taken(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = Snapshots(tmp_path)
    assert snapshots.newest() is None
    for steps in (1, 2, 3):
        snapshots.write(steps, {"value": np.array([steps])})
    kept = sorted((tmp_path / "snapshots").iterdir())
    assert [int(folder.name) for folder in kept] == [2, 3]
    damage(kept[1] / name)
    found = snapshots.newest()
    assert found is not None
    assert found["value"] == [2]
    assert f"{name}: does not match its" in caplog.text
    assert f"going on from the snapshot before it, {kept[0]}" in caplog.text
    damage(kept[0] / name)
    with pytest.raises(SpecError, match="no snapshot is whole") as refused:
        snapshots.newest()
    assert [f"{folder / name}:" in str(refused.value) for folder in kept] == [True, True]


def test_a_run_that_went_back_removes_the_damaged_snapshot_when_it_has_a_new_one(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    for steps in (10, 20):
        snapshots.write(steps, {"value": steps})
    damage(tmp_path / "snapshots" / "000000000020" / "state.json")
    snapshots.write(15, {"value": 15})
    assert [int(folder.name) for folder in sorted((tmp_path / "snapshots").iterdir())] == [10, 15]


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_run_whose_newest_snapshot_is_damaged_ends_the_same(name: str, whole: Any, tmp_path: Path) -> None:
    with pytest.raises(PowerCut):
        train(short_job(name, fleets, dies_after(2, score)), tmp_path)
    older, newer = sorted((tmp_path / "snapshots").iterdir())
    damage(newer / "state.json")
    train(short_job(name, fleets), tmp_path)
    assert_same_run(whole(name, fleets), tmp_path)
    assert older.name not in {folder.name for folder in (tmp_path / "snapshots").iterdir()}


def stopped_at(calls: int, validate: Any) -> Any:
    """A validation during which somebody asks the process to stop, the n-th time."""
    left = iter(range(calls - 1))

    def interrupted(policy: Any) -> Any:
        if next(left, None) is None:
            signal.raise_signal(signal.SIGTERM)
        return validate(policy)

    return interrupted


@pytest.mark.parametrize(("name", "make_env"), ENVIRONMENTS)
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_bits(
    name: str, make_env: Callable[[], Any], tmp_path: Path
) -> None:
    """The snapshot at the stop lies between those that are due, and leaves no trace in what follows."""

    def job(validate: Any, stop: StopSignals) -> TrainingJob:
        return replace(short_job(name, make_env, validate), cadence=BETWEEN, stop=stop)

    with StopSignals() as stop:
        train(job(score, stop), tmp_path / "whole")
    for calls in (1, 2):
        with StopSignals() as stop, pytest.raises(Stopped) as stopped:
            train(job(stopped_at(calls, score), stop), tmp_path / "cut")
        assert stopped.value.exit_status == 143
    train(job(score, StopSignals()), tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_stop_of_a_fleet_loses_no_step(tmp_path: Path) -> None:
    with StopSignals() as stop:
        job = replace(job_on(fleet("native"), small_algorithm("ppo"), every=10_000), stop=stop)
        job = replace(job, validate=stopped_at(1, lambda _: {"return": 0.0}), cadence=Cadence(100, 10_000, 10_000))
        with pytest.raises(Stopped):
            train_policy(job, make_model(job), tmp_path)
    assert [int(folder.name) for folder in (tmp_path / "snapshots").iterdir()] == [128]


def test_before_training_and_at_the_second_time_a_signal_stops_at_once() -> None:
    with StopSignals() as stop:
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGINT)
        stop.defer()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped) as second:
            signal.raise_signal(signal.SIGINT)
    assert second.value.exit_status == 130


def test_a_damaged_best_checkpoint_is_not_trained_past(tmp_path: Path) -> None:
    job = job_on(same_step(Target, 2), small_algorithm("a2c"), validate=dies_after(2, target_score))
    with pytest.raises(PowerCut):
        train_policy(job, make_model(job), tmp_path)
    damage(tmp_path / "checkpoints" / "best" / "policy.safetensors")
    with pytest.raises(SpecError, match=r"best/policy\.safetensors: does not match .* to go on without the best"):
        train_policy(job, make_model(job), tmp_path)


def test_a_state_that_is_no_plain_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"get_state gives cannot be kept \(object cannot be stored"):
        Snapshots(tmp_path).write(1, {"world": object()})
