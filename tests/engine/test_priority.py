"""Priority and reserved seats within a pool, worked out by hand on both engines.

One replica; an iteration of prefill takes 10 ms and 1 ms a token, one of decoding 10 ms. Classes 0 and 1 ask for it.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable


def two_classes(**changes: object) -> FleetArrays:
    """The pool of `one_pool` with two classes and one seat."""
    single = one_pool()
    columns: dict[str, object] = {
        quantity.name: getattr(single, quantity.name) for quantity in quantities_of(FleetArrays)
    }
    for quantity in quantities_of(FleetArrays):
        if "K" in quantity.axis:
            columns[quantity.name] = quantity.neutral
    sizes = {**dict.fromkeys("WRBVTLF", 0), "S": 1, "P": 1, "K": 2}
    return FleetArrays.neutral(1.0, 8, sizes, **{**columns, "max_batch": 1, "ranks_classes": True, **changes})


def first_tokens(
    engine: str, arrays: FleetArrays, arrival_s: list[float], classes: list[int], answer: int = 11
) -> list[float]:
    """When each request of 10 tokens gets its first token: 20 ms after it has joined; its answer takes 100 ms more."""
    count = len(arrival_s)
    requests = RequestTable.of(arrival_s, [10] * count, [answer] * count, class_id=np.array(classes, np.int32))
    log = run(engine, arrays, plain_episode(arrays, requests)).log
    return [float(time_s) for time_s in log.first_token_s]


@pytest.mark.parametrize("engine", ENGINES)
def test_who_has_the_higher_priority_waits_in_front_and_nobody_is_stopped(engine: str) -> None:
    arrays, arrival_s = two_classes(priority=[0, 1]), [0.0, 0.01, 0.02, 0.03, 0.04]
    joined_s = np.array(first_tokens(engine, arrays, arrival_s, [0, 0, 0, 1, 1])) - 0.02
    assert joined_s.tolist() == pytest.approx([0.0, 0.36, 0.48, 0.12, 0.24])


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_priorities_are_first_come_first_served(engine: str) -> None:
    joined_s = np.array(first_tokens(engine, two_classes(), [0.0, 0.01, 0.02], [1, 0, 1])) - 0.02
    assert joined_s.tolist() == pytest.approx([0.0, 0.12, 0.24])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pool_that_does_not_rank_classes_knows_no_priority(engine: str) -> None:
    arrays = two_classes(priority=[0, 1], ranks_classes=False)
    joined_s = np.array(first_tokens(engine, arrays, [0.0, 0.01, 0.02], [0, 0, 1])) - 0.02
    assert joined_s.tolist() == pytest.approx([0.0, 0.12, 0.24])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reserved_seat_waits_for_its_class_and_others_pass_over_who_finds_none(engine: str) -> None:
    """Two seats, one kept for class 1: two of class 0 run one after the other while class 1 joins at once."""
    arrays = two_classes(max_batch=2, reserved_seats=[[0, 1]])
    long = first_tokens(engine, arrays, [0.0, 0.005, 0.105], [0, 0, 1], answer=31)
    assert long[0] == pytest.approx(0.02)
    assert long[2] == pytest.approx(0.11 + 0.02)  # from the boundary after its arrival on
    assert long[1] == pytest.approx(0.34, abs=0.011)  # once the first one, delayed by that prefill, has ended


@pytest.mark.parametrize("engine", ENGINES)
def test_a_class_takes_seats_beyond_its_own(engine: str) -> None:
    arrays = two_classes(max_batch=3, reserved_seats=[[1, 1]])
    joined = first_tokens(engine, arrays, [0.0, 0.0, 0.0], [1, 1, 1], answer=31)
    assert joined[:2] == pytest.approx([0.02, 0.04])
    assert joined[2] > 0.3  # the last seat is kept for class 0


def test_priorities_and_seats_are_read_from_the_scenario() -> None:
    changes = {"classes.chat-8b.priority": 2, "pools.lab-8b.reserved_seats": {"batch-8b": 3}}
    arrays = FleetArrays.from_scenario(load_scenario("tiny", changes))
    assert arrays.priority.tolist() == [2, 0, 0]
    assert arrays.ranks_classes.tolist() == [True, False]
    assert arrays.reserved_seats.tolist() == [[0, 0, 3], [0, 0, 0]]
    assert not FleetArrays.from_scenario(load_scenario("tiny")).ranks_classes.any()


@pytest.mark.parametrize(
    ("seats", "message"),
    [
        (
            {"chat-70b": 1},
            "reserved_seats.chat-70b: no class of that name asks for 'llama-3.1-8b'; did you mean 'chat-8b'",
        ),
        ({"chat-8b": 200, "batch-8b": 56}, "at least one of max_batch .256. seats must be left for all .got 256."),
    ],
)
def test_seats_that_cannot_be_kept_are_refused(seats: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_scenario("tiny", {"pools.lab-8b.reserved_seats": seats})
