"""Runs that are interrupted: short jobs, what interrupts them, and what it means that two runs are the same."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.conftest import ENGINE
from tests.policies.toys import SMALL, Target, job_on, same_step, small_algorithm
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy

TOTAL, EVERY = 256, 64
KEPT = ("checkpoints/best/policy.safetensors", "checkpoints/last/policy.safetensors", "checkpoints/best/meta.json")
NORMALIZE = {"norm_obs": True, "norm_reward": True}


def fleets() -> FleetVectorEnv:
    """Environments that are restored."""
    overrides = {"horizon_ticks": 35, "sites.lab.grid.demand_response": []}
    return FleetVectorEnv("tiny", 2, overrides=overrides, engine=ENGINE, autoreset_mode=AutoresetMode.SAME_STEP)


def targets() -> Any:
    """Environments that cannot be restored."""
    return same_step(Target, 2)


def score_in(make_env: Callable[[], Any]) -> Callable[[Any], dict[str, float]]:
    """A validation: the policy's answer to one observation, which tells two policies apart."""
    seen = np.linspace(0, 1, make_env().single_observation_space.shape[0], dtype=np.float32)[None]
    return lambda policy: {"return": float(policy.predict(seen, deterministic=True)[0].sum())}


def short_job(name: str, make_env: Callable[[], Any], validate: Any) -> TrainingJob:
    algorithm = small_algorithm(name, normalize=NORMALIZE)
    return job_on(make_env(), algorithm, total=TOTAL, every=EVERY, validate=validate)


def train(job: TrainingJob, folder: Path) -> None:
    train_policy(job, make_model(job), folder)


ENVIRONMENTS = [*((name, fleets) for name in SMALL), ("ppo", targets), ("recurrent_ppo", targets), ("sac", targets)]
"""Every algorithm in a fleet, which is restored, and some where the environment starts anew in both runs."""


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


def train_with_power_cuts(make_job: Callable[[Any], TrainingJob], validate: Any, folder: Path) -> None:
    """Die at the second validation, again at the next but one, then finish."""
    for calls in (1, 2):
        with pytest.raises(PowerCut):
            train(make_job(dies_after(calls, validate)), folder)
    train(make_job(validate), folder)


def damage(file: Path) -> None:
    """Change the last byte."""
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def progress(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in csv.DictReader(file)]


def assert_same_run(first: Path, second: Path) -> None:
    for name in KEPT:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert progress(first) == progress(second)
    assert len(progress(first)) > 2
