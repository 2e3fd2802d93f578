"""The examples of docs/what-if.md run, and so does the planner that it names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from examples.planner.plan import clearly_best, returns

PAGE = (Path(__file__).parents[2] / "docs" / "what-if.md").read_text(encoding="utf-8")
PLANNER, HOLDING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_planner_plans_and_the_fleets_fork() -> None:
    names: dict[str, object] = {}
    exec(compile(PLANNER.replace("range(30)", "range(6)"), "docs/what-if.md", "exec"), names)
    assert names["answer"].value_usd.shape == (2, 8, 4)  # type: ignore[attr-defined]
    exec(compile(HOLDING, "docs/what-if.md", "exec"), names)
    assert (names["observations"][0] == names["observations"][1]).all()  # type: ignore[index]


def test_the_planner_with_a_placebo_runs() -> None:
    earned = [returns("tiny", "feedback_capping", size, episodes=2, ticks=12) for size in (None, 1e-4, 0.3)]
    assert np.isfinite(earned).all()


def test_a_branch_is_clearly_best_if_it_is_so_in_most_futures() -> None:
    rule, better, lucky = np.zeros(4), np.array([1.0, 1.1, 0.9, 1.0]), np.array([9.0, 0.0, 0.0, -0.1])
    assert clearly_best(np.array([[rule, better, lucky], [rule, lucky, -better]])).tolist() == [1, 0]
