"""Training jobs, worked out by hand on both engines: two of them, 500 W at work, 100 W paused, ticks of a second.

A checkpoint after 4 s of work holds a job up for 1.5 s; to resume takes 2 s; a second of work earns 3 USD.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.accounts.metrics import FLEET
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.vector import FleetVectorEnv

ON_BOTH = pytest.mark.parametrize("engine", ENGINES)
JOBS: dict[str, Any] = {
    "training": 0,
    "training_jobs": 2,
    "training_busy_w": 500.0,
    "training_idle_w": 100.0,
    "training_usd_per_s": 3.0,
    "checkpoint_interval_s": 4.0,
    "checkpoint_s": 1.5,
    "training_resume_s": 2.0,
}


def fleet(**changes: Any) -> FleetArrays:
    return one_pool(**{**JOBS, "horizon_ticks": 12, **changes})


def asked(arrays: FleetArrays, share: float) -> Controls:
    return replace(neutral(arrays), training_share=np.array([[share]]))


def lived(engine: str, arrays: FleetArrays, *shares: float, **limits: Any) -> Run:
    episode = plain_episode(arrays, RequestTable.empty(), **limits)
    return run(engine, arrays, episode, [asked(arrays, share) for share in shares])


@ON_BOTH
def test_work_stops_for_every_checkpoint(engine: str) -> None:
    result = lived(engine, fleet(), *[1.0] * 11)
    one = [1, 1, 1, 1, 0, 0.5, 1, 1, 1, 0.5, 0]
    assert (result.outcomes["training_work_s"][:, 0] / 2).tolist() == pytest.approx(one)
    assert result.outcomes["training_energy_j"][:, 0].tolist() == pytest.approx([1000.0] * 11)
    assert result.total("training_usd") == pytest.approx(2 * 3.0 * 8.0)
    assert result.views["unsaved_work_s"][[4, 5, 6], 0].tolist() == pytest.approx([8.0, 8.0, 1.0])


@ON_BOTH
def test_a_job_that_pauses_saves_first_and_loses_nothing(engine: str) -> None:
    result = lived(engine, fleet(training_jobs=1), 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    assert result.outcomes["training_work_s"][:, 0].tolist() == pytest.approx([1, 1, 0, 0, 0, 0, 0, 1])
    watts = [500.0, 500.0, 500.0, 0.5 * 500.0 + 0.5 * 100.0, 100.0, 500.0, 500.0, 500.0]
    assert result.outcomes["training_energy_j"][:, 0].tolist() == pytest.approx(watts)
    assert result.views["working_jobs"][1:, 0].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert result.total("training_lost_s") == 0.0


@ON_BOTH
def test_half_of_the_jobs_work_where_half_are_asked_for(engine: str) -> None:
    result = lived(engine, fleet(), 0.5, 0.5, 0.5)
    assert result.outcomes["training_work_s"][:, 0].tolist() == pytest.approx([1.0] * 3)
    assert result.views["working_jobs"][-1, 0] == 1


@ON_BOTH
def test_power_that_is_lost_takes_the_work_since_the_last_checkpoint(engine: str) -> None:
    """The breaker heats as r - 1: at ten times the cap it trips at the end of the first tick, for 4 s."""
    arrays = fleet(training_jobs=1, brake_delay_s=100.0, trip_heat_s=4.0, trip_exponent=1.0)
    result = lived(engine, arrays, *[1.0] * 9, cap_w=np.array([54.0] + [1e9] * 11))
    assert result.total("trips") == 1
    assert result.outcomes["training_lost_s"][:3, 0].tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert result.outcomes["training_energy_j"][1:5, 0].tolist() == [0.0] * 4
    assert result.outcomes["training_work_s"][:, 0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0, 1, 1])
    assert result.total("training_usd") == pytest.approx(3.0 * (3.0 - 1.0))


@ON_BOTH
def test_the_brake_slows_work_and_power_above_idle_alike(engine: str) -> None:
    arrays = fleet(training_jobs=1, checkpoint_interval_s=100.0, brake_delay_s=1.0)
    result = lived(engine, arrays, *[1.0] * 4, cap_w=400.0)  # which lets go two seconds later
    assert result.outcomes["training_work_s"][:, 0].tolist() == pytest.approx([1.0, 0.25, 0.25, 1.0])
    assert result.outcomes["training_energy_j"][1, 0] == pytest.approx(100.0 + 0.25 * 400.0)


def test_a_site_pays_for_its_training_and_is_paid_and_the_ledger_adds_up() -> None:
    training = {"gpu": "h100-sxm", "jobs": 2, "boards_per_job": 4, "usd_per_board_hour": 2.0}
    plain = load_scenario("tiny")
    scenario = load_scenario(plain, {"sites.lab.training": training})
    arrays = FleetArrays.from_scenario(scenario)
    assert arrays.training_usd_per_s[0] == pytest.approx(4 * 2.0 / 3600)
    assert scenario.nameplate_w("lab") > plain.nameplate_w("lab") + 8 * 700.0
    fleets = FleetVectorEnv(scenario, 1)
    fleets.reset(seed=0)
    infos: dict[str, Any] = {}
    for _ in range(scenario.horizon_ticks):
        *_, infos = fleets.step(np.zeros_like(fleets.action_space.sample()))
    earned = infos["episode_metrics"]["training_usd"][0]
    assert 0.0 < earned <= 2 * 60 * arrays.training_usd_per_s[0]
    assert "training_usd" in infos["reward_terms"]
    assert "training_usd" in {metric.name for metric in FLEET}
    fleets.ledger(0).audit()


@ON_BOTH
def test_a_long_tick_holds_many_cycles(engine: str) -> None:
    arrays = fleet(training_jobs=1, tick_s=5500.0, horizon_ticks=2)
    result = lived(engine, arrays, 1.0, 1.0)
    assert result.outcomes["training_work_s"][:, 0].tolist() == pytest.approx([4000.0, 4000.0])
