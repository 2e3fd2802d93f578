"""The control's time is told apart from what a policy is learned by."""

from __future__ import annotations

import pytest

from benchmarks import learning_time
from benchmarks.learning_time import Clock


def test_the_control_is_the_search_of_constants_after_those_of_feedback_were_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(learning_time, "processor_s", lambda: float(next(seconds)))
    clock = Clock()
    for what in (
        "constants: generation 1",
        "constants further: generation 1",
        "constants further: choice",
        "constants further: generation 2",
        "constants further: choice",
        "constants before, tuned constants",
        "feedback within +1.000 s: generation 1",
        "end",
    ):
        clock.begins(what)
    assert clock.control_s == 2.0
    assert clock.learning_s == 6.0
