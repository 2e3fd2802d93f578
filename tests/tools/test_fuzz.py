"""The fuzz finds what is wrong, makes it small, and can be told to do it again."""

import os
import signal
import time

import pytest

from tests.engine.agreement import assert_same, both
from tokenfleet.envs.engine.reference import admission, fleet
from tokenfleet.envs.spec import SpecError
from tools.fuzz import case as cases
from tools.fuzz.case import Case, check
from tools.fuzz.isolation import problem_of, verdicts
from tools.fuzz.omit import OMISSIONS, first_ticks, only_rows
from tools.fuzz.shrink import Shrinker


@pytest.mark.parametrize("case", [
    Case(7), Case(7, fleets=(0, 2), ticks=3), Case(7, rows=()), Case(7, ("warm", "failures"), (1,), 4, (0, 12)),
])  # fmt: skip
def test_what_is_printed_can_be_replayed(case):
    assert Case.parse(str(case)) == case


@pytest.mark.parametrize("text", ["", "x", "7:rows", "7:without=nothing", "7:colour=blue", "7:rows=0-3", "7:ticks=-1"])
def test_what_was_not_printed_is_refused(text):
    with pytest.raises(SpecError, match=r"--replay: "):
        Case.parse(text)


@pytest.mark.parametrize("name", OMISSIONS)
def test_an_instance_with_less_in_it_is_still_an_instance(name):
    for instance in Case(21).instances()[:1] + Case(51).instances()[:1]:
        assert_same(*both(OMISSIONS[name](instance)))


def test_shorter_episodes_and_fewer_requests_are_still_instances():
    for seed in range(12):
        instance = Case(seed).instances()[0]
        small = first_ticks(only_rows(instance, range(0, len(instance.episode.requests), 3)), 4)
        assert_same(*both(small))
        assert len(small.episode.requests) <= (len(instance.episode.requests) + 2) // 3


def test_a_defect_of_one_engine_is_found_and_made_small(monkeypatch):
    """A reference in which held requests never lose patience: a handful of requests shows it."""
    monkeypatch.setattr(admission.Admission, "drop_expired", lambda *_: [])
    found = next(verdict for verdict in verdicts(map(Case, range(100))) if verdict.problem)
    smallest = Shrinker(lambda case: bool(problem_of(case))).shrink(found.case)
    assert len(smallest.rows) <= 4
    assert len(smallest.instances()) == 1
    assert problem_of(Case.parse(str(smallest)))
    monkeypatch.undo()
    assert problem_of(smallest) == ""


def test_a_shrunk_case_has_only_what_the_defect_needs():
    """It needs row 5, a third tick and warm caches."""
    tries = []

    def fails(case: Case) -> bool:
        tries.append(case)
        ticks = case.ticks or case.instances()[0].arrays.horizon_ticks
        return (case.rows is None or 5 in case.rows) and ticks >= 3 and "warm" not in case.without

    smallest = Shrinker(fails).shrink(Case(21))
    assert (smallest.rows, smallest.ticks, len(smallest.instances())) == ((5,), 3, 1)
    assert set(smallest.without) == {*cases.FLAGS, *OMISSIONS} - {"warm"}
    assert len(tries) <= 400


def test_a_crash_is_a_verdict(monkeypatch):
    monkeypatch.setattr(fleet.Fleet, "step", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert "ends the process" in problem_of(Case(0))


def test_a_case_that_never_ends_is_a_verdict(monkeypatch):
    monkeypatch.setattr("tools.fuzz.isolation.CPU_LIMIT_S", 0.2)
    monkeypatch.setattr(fleet.Fleet, "step", lambda *_: _compute_for_ever())
    assert "computes for more than" in problem_of(Case(0))


def _compute_for_ever() -> None:
    while True:
        time.monotonic()


@pytest.mark.parametrize(
    ("check_at_the_door", "taken"),
    [("check_controls", "controls were taken"), ("check_episode", "signals were taken")],
)
def test_something_malformed_that_is_taken_is_a_problem(monkeypatch, check_at_the_door, taken):
    monkeypatch.setattr(f"tokenfleet.envs.engine.reference.{check_at_the_door}", lambda *_: None)
    with pytest.raises(AssertionError, match=f"malformed: reference: {taken}"):
        check(Case(0, ticks=1))


def test_requests_that_refer_to_what_a_fleet_lacks_are_a_problem_if_they_are_taken(monkeypatch):
    monkeypatch.setattr("tokenfleet.envs.engine.checks._check_references", lambda *_: [])
    with pytest.raises(AssertionError, match="malformed: reference: requests were taken"):
        check(Case(0, ticks=1))
