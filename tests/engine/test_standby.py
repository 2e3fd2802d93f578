"""Depths of sleep, worked out by hand for four replicas on both engines: awake 40 W, standing by 15 W, asleep 5 W."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.scenario import Scenario
from tokenfleet.envs.traces import RequestTable

ON_BOTH = pytest.mark.parametrize("engine", ENGINES)


def fleet(**changes: object) -> FleetArrays:
    given: dict[str, Any] = {
        "replicas": 4,
        "standby": 0,
        "resume_s": 2.0,
        "standby_w": 15.0,
        "horizon_ticks": 12,
        **changes,
    }
    return one_pool(**given)  # wakes in 5 s


def asked(arrays: FleetArrays, awake: int, standby: int) -> Controls:
    shares = {"awake_fraction": awake / 4, "standby_fraction": standby / 4}
    return replace(neutral(arrays), **{name: np.array([[share]]) for name, share in shares.items()})


def lived(engine: str, arrays: FleetArrays, *counts: tuple[int, int, int], requests: RequestTable | None = None) -> Run:
    """Ticks of so many (awake, standing by, for how long)."""
    tape = [asked(arrays, awake, standby) for awake, standby, ticks in counts for _ in range(ticks)]
    return run(engine, arrays, plain_episode(arrays, requests or RequestTable.empty()), tape)


def shown(result: Run) -> list[tuple[int, ...]]:
    """(awake, waking, standing by, preparing) after every tick."""
    names = ("awake_replicas", "waking_replicas", "standby_replicas", "preparing_replicas")
    return [tuple(row) for row in np.stack([result.views[name][1:, 0] for name in names], axis=1).astype(int).tolist()]


@ON_BOTH
def test_who_stands_by_wakes_sooner_than_who_sleeps(engine: str) -> None:
    result = lived(engine, fleet(), (1, 2, 2), (4, 0, 8))
    assert shown(result) == [(1, 0, 2, 0)] * 2 + [(1, 3, 0, 0)] * 2 + [(3, 1, 0, 0)] * 3 + [(4, 0, 0, 0)] * 3


@ON_BOTH
def test_every_depth_draws_its_own_power(engine: str) -> None:
    arrays = fleet(host_w=100.0, host_standby_w=30.0, host_asleep_w=7.0)
    result = lived(engine, arrays, (1, 2, 3))
    assert result.outcomes["asleep_energy_j"][-1, 0] == pytest.approx(2 * 15.0 + 5.0)
    assert result.outcomes["idle_energy_j"][-1, 0] == pytest.approx(40.0)
    assert result.outcomes["host_energy_j"][-1, 0] == pytest.approx(100.0 + 2 * 30.0 + 7.0)


@ON_BOTH
def test_to_stand_by_a_sleeper_loads_its_model_at_idle_power_and_then_rests(engine: str) -> None:
    result = lived(engine, fleet(), (1, 0, 1), (1, 1, 7))
    assert shown(result) == [(1, 0, 0, 0)] + [(1, 0, 0, 1)] * 5 + [(1, 0, 1, 0)] * 2
    rest_j = [3 * 5.0 + 40.0] + [2 * 5.0 + 2 * 40.0] * 5 + [2 * 5.0 + 15.0 + 40.0] * 2
    assert result.outcomes["it_energy_j"][:, 0].tolist() == pytest.approx(rest_j)


@ON_BOTH
def test_who_loads_its_model_goes_on_loading_be_it_to_wake_or_to_stand_by(engine: str) -> None:
    result = lived(engine, fleet(), (1, 0, 1), (1, 1, 3), (2, 0, 1), (1, 1, 3))
    assert shown(result) == [(1, 0, 0, 0)] + [(1, 0, 0, 1)] * 3 + [(1, 1, 0, 0)] + [(1, 0, 0, 1)] + [(1, 0, 1, 0)] * 2


@ON_BOTH
def test_no_more_stand_by_than_need_not_be_awake(engine: str) -> None:
    assert shown(lived(engine, fleet(), (3, 4, 2)))[-1] == (3, 0, 1, 0)


@ON_BOTH
def test_a_replica_stands_by_once_it_has_finished_what_it_has(engine: str) -> None:
    requests = RequestTable.of([0.0], [10], [250])  # decodes until 2.51 s, on the first replica, which drains last
    result = lived(engine, fleet(), (4, 0, 1), (0, 4, 4), requests=requests)
    assert [standby for _, _, standby, _ in shown(result)] == [0, 3, 3, 4, 4]
    assert result.total("completed_in_slo") == 1


@ON_BOTH
def test_a_pool_that_cannot_stand_by_sleeps(engine: str) -> None:
    arrays = one_pool(replicas=4, horizon_ticks=3)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.empty()), [asked(arrays, 1, 3)] * 3)
    assert result.outcomes["asleep_energy_j"][-1, 0] == pytest.approx(3 * 5.0)


def with_depths(**keys: object) -> Scenario:
    return load_scenario("tiny", {f"pools.lab-70b.{key}": value for key, value in keys.items()})


def test_the_weights_of_each_board_come_back_as_fast_as_was_measured() -> None:
    arrays = FleetArrays.from_scenario(with_depths(standby={}))
    assert arrays.standby.tolist() == [-1, 0]
    assert arrays.resume_s[1] == pytest.approx(0.17 + 2 * 70.553706496e9 / 4 / 12.7e9)
    assert arrays.resume_s[1] < 0.02 * arrays.wake_s[1]


def test_a_cold_server_draws_next_to_nothing_and_boots_first() -> None:
    warm, cold = (FleetArrays.from_scenario(with_depths(cold=keys)) for keys in (None, {"boot_s": 240.0}))
    assert cold.wake_s[1] == warm.wake_s[1] + 240.0
    assert (cold.asleep_w[1], cold.host_asleep_w[1]) == (0.0, 4 * 3.0)
    np.testing.assert_array_equal(cold.idle_w, warm.idle_w)
