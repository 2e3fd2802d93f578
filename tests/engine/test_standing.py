"""Fleets of a batch may stand still while the others advance."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError

SCENARIO = load_scenario("tiny", {"horizon_ticks": 6})


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fleet_that_stood_still_goes_on_as_if_nothing_had_happened(engine: str, threads: int) -> None:
    arrays = FleetArrays.from_scenario(SCENARIO)
    some, alone = make_engine(engine, arrays, 3, threads), make_engine(engine, arrays, 1)
    for index in range(3):
        some.reset(index, sample_episode(SCENARIO, 5, "train"))
    alone.reset(0, sample_episode(SCENARIO, 5, "train"))
    controls, one = (Controls.neutral(n, np.ones((3, 2))) for n in (3, 1))
    moves = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 1]], bool)
    seen = [alone.view.rows[0].copy()]
    happened = []
    for _ in range(6):
        alone.step(one)
        seen.append(alone.view.rows[0].copy())
        happened.append(alone.outcome.rows[0].copy())
    ticks = np.zeros(3, int)
    for moving in moves:
        some.step(controls, moving)
        ticks += moving
        for index in range(3):
            np.testing.assert_array_equal(some.view.rows[index], seen[ticks[index]])
            expected = happened[ticks[index] - 1] if moving[index] else np.zeros(arrays.outcome.width)
            np.testing.assert_array_equal(some.outcome.rows[index], expected)


def test_a_fleet_at_its_end_may_stand_still(engine: str) -> None:
    arrays = FleetArrays.from_scenario(SCENARIO)
    fleets = make_engine(engine, arrays, 2)
    for index in range(2):
        fleets.reset(index, sample_episode(SCENARIO, index, "train"))
    controls = Controls.neutral(2, np.ones((3, 2)))
    for _ in range(6):
        fleets.step(controls, np.array([True, False]))
    fleets.step(controls, np.array([False, True]))
    with pytest.raises(IndexError):
        fleets.step(controls)


@pytest.mark.parametrize("moving", [np.ones(3, bool), np.ones(2), [True, True]])
def test_a_mask_of_another_kind_is_refused(engine: str, moving: object) -> None:
    fleets = make_engine(engine, FleetArrays.from_scenario(SCENARIO), 2)
    with pytest.raises(SpecError, match="moving: must be a bool array of shape"):
        fleets.step(Controls.neutral(2, np.ones((3, 2))), moving)  # type: ignore[arg-type]
