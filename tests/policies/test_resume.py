"""A run that died and went on ends exactly as one that did not: the same weights, log and best checkpoint."""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.policies.toys import SMALL, Target, job_on, same_step, small_algorithm, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned import resume
from tokenfleet.policies.learned.resume import Snapshots
from tokenfleet.policies.learned.training import make_model, train_policy

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


def train_with_power_cuts(make_env: Callable[[], Any], algorithm: Any, validate: Any, folder: Path) -> None:
    """Die at the second validation, again at the next but one, then finish."""
    for calls in (1, 2):
        job = job_on(make_env(), algorithm, validate=dies_after(calls, validate))
        with pytest.raises(PowerCut):
            train_policy(job, make_model(job), folder)
    job = job_on(make_env(), algorithm, validate=validate)
    train_policy(job, make_model(job), folder)


@pytest.mark.parametrize("name", SMALL)
def test_every_algorithm_goes_on_exactly_in_a_fleet(name: str, engine: str, tmp_path: Path) -> None:
    algorithm = small_algorithm(name, normalise=NORMALISE)

    width = fleet(engine).single_observation_space.shape[0]

    def validate(policy: Any) -> dict[str, float]:
        seen = np.linspace(0, 1, width, dtype=np.float32)
        return {"return": float(policy.predict(seen[None], deterministic=True)[0].sum())}

    job = job_on(fleet(engine), algorithm, validate=validate)
    train_policy(job, make_model(job), tmp_path / "whole")
    train_with_power_cuts(lambda: fleet(engine), algorithm, validate, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "sac"])
def test_an_environment_that_cannot_be_restored_starts_anew_in_both_runs(name: str, tmp_path: Path) -> None:
    algorithm = small_algorithm(name, normalise=NORMALISE)
    job = job_on(same_step(Target, 2), algorithm, validate=target_score)
    train_policy(job, make_model(job), tmp_path / "whole")
    train_with_power_cuts(lambda: same_step(Target, 2), algorithm, target_score, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


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


def test_a_wrapper_may_hide_state_so_a_wrapped_fleet_is_not_restored(engine: str) -> None:
    from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
    from tokenfleet.policies.learned.training_state import can_restore

    assert can_restore(Sb3VecEnv(fleet(engine)))
    assert not can_restore(Sb3VecEnv(gymnasium.wrappers.vector.RecordEpisodeStatistics(fleet(engine))))


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


def test_a_damaged_snapshot_is_reported_not_trained_from(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    assert snapshots.newest() is None
    snapshots.write(1, {"value": np.zeros(3)})
    file = next((tmp_path / "snapshots").glob("*/state.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SpecError, match="damaged"):
        snapshots.newest()


def test_a_state_that_is_no_plain_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"get_state gives cannot be kept \(object cannot be stored"):
        Snapshots(tmp_path).write(1, {"world": object()})


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tokenfleet.train", *arguments]


SHORT_RUN = (
    "scenario=tiny",
    "total_timesteps=6000",
    "n_envs=8",
    "algo.rollout_steps=512",
    "algo.batch_size=128",
    "validation.every=1500",
    "validation.episodes=2",
    "log_every=512",
    "snapshot_every=700",
    "tensorboard=false",
)


def test_a_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """`train.py` on `tiny`, killed with SIGKILL at a random moment after its first snapshot, then resumed."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(*SHORT_RUN, f"hydra.run.dir={whole}"), check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen(command(*SHORT_RUN, f"hydra.run.dir={cut}"), stdout=subprocess.DEVNULL)
    while not list(cut.glob("snapshots/0*/state.json")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.random())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed; make it longer"
    subprocess.run(command(f"resume={cut}"), check=True, stdout=subprocess.DEVNULL)
    assert_same_run(whole, cut)

    again = subprocess.run(command(f"resume={cut}"), capture_output=True, text=True)
    assert again.returncode == 2
    assert again.stderr == f"resume: {cut} is complete (6000 steps); start a new run\n"
