"""A run that is asked to stop takes a snapshot, ends in order, and goes on as if nobody had asked."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.policies.interruptions import ENVIRONMENTS, assert_same_run, fleets, score_in, short_job, train
from tests.policies.toys import job_on, small_algorithm
from tokenfleet.policies.learned.callbacks import Cadence
from tokenfleet.policies.learned.stopping import Stopped, StopSignals
from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy

BETWEEN = Cadence(validate=45, log=85, snapshot=160)
"""What is due at moments of its own; a snapshot at a stop lies between two of these."""


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
    score = score_in(make_env)

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
        job = replace(job_on(fleets(), small_algorithm("ppo"), every=10_000), stop=stop)
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
