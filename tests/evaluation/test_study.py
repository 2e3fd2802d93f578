"""A study's folder: everything is in it, or nothing is."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.known_answers import TINY, Constant, countdowns
from tests.evaluation.synthetic import fleet_rows
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.results import read_rows
from tokenfleet.evaluation.saving import save_study
from tokenfleet.evaluation.study import record_timelines, run_study
from tokenfleet.evaluation.summary import summarise

ACTIONS = TINY(1).single_action_space.shape
assert ACTIONS is not None
CANDIDATES = [
    Candidate(Constant(np.zeros(ACTIONS, np.float32)), "middle"),
    Candidate(Constant(np.full(ACTIONS, 0.9, np.float32)), "high"),
    Candidate(Constant(np.full(ACTIONS, 0.2, np.float32)), "ppo-seed0", "ppo", 0, learned=True),
]


def draw_one(name: str, figures: Path) -> None:
    (figures / name).write_bytes(b"drawn")


def test_a_study_is_its_evaluations_one_after_the_other() -> None:
    rows = run_study(TINY, CANDIDATES, 3, 5, batch_size=2)
    alone = [row for candidate in CANDIDATES for row in evaluate_policy(TINY, candidate, 3, 5)]
    assert [row.key for row in rows] == [row.key for row in alone]
    assert [row.metrics["return"] for row in rows] == [row.metrics["return"] for row in alone]


def test_the_timelines_are_of_the_learned_policy_and_the_best_baseline_in_its_median_episode() -> None:
    rows = run_study(TINY, CANDIDATES, 3, 5)
    summary = summarise(rows)
    learned, other = record_timelines(TINY, CANDIDATES, summary)
    best = min(("middle", "high"), key=summary.ranking.index)
    assert (learned.policy, other.policy) == ("ppo-seed0", best)
    values = {row.seed: row.metrics["net_value_usd"] for row in rows if row.policy == "ppo-seed0"}
    assert learned.seed == other.seed
    assert values[learned.seed] == sorted(values.values())[1]


def test_an_environment_that_is_no_fleet_has_no_timelines() -> None:
    candidates = [Candidate(Constant(1), "one")]
    assert record_timelines(countdowns, candidates, summarise(run_study(countdowns, candidates, 2, 0))) == []


def test_the_folder_holds_rows_summary_table_timeline_texts_and_figures(tmp_path: Path) -> None:
    rows = run_study(TINY, CANDIDATES, 3, 5)
    summary = summarise(rows)
    folder = tmp_path / "study"
    timelines = record_timelines(TINY, CANDIDATES, summary)
    save_study(
        folder,
        rows,
        summary,
        timelines,
        texts={"config.yaml": "seed: 5\n"},
        draw=partial(draw_one, "one.png"),
    )
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "episodes.parquet",
        "episodes.csv",
        "summary.csv",
        "table.txt",
        "timeline.csv",
        "config.yaml",
        "figures",
    }
    assert [row.key for row in read_rows(folder / "episodes.parquet")] == [row.key for row in rows]
    lines = list(csv.DictReader((folder / "timeline.csv").open()))
    assert len(lines) == 2 * 20
    assert float(lines[20]["power_w/lab"]) == timelines[1].power_w[0, 0]
    assert (folder / "table.txt").read_text().count("ppo-seed0") >= 2


def test_saving_again_replaces_the_study(tmp_path: Path) -> None:
    for episodes in (4, 3):
        rows = fleet_rows(episodes)
        draw = partial(draw_one, f"{episodes}.png")
        save_study(tmp_path, rows, summarise(rows), [], formats=["csv"], draw=draw)
    assert len(read_rows(tmp_path / "episodes.csv")) == 3 * 7
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["3.png"]


def test_a_failure_half_way_leaves_nothing_new(tmp_path: Path) -> None:
    rows = fleet_rows(3)
    (tmp_path / "kept.txt").write_text("older")

    def fail(figures: Path) -> None:
        raise RuntimeError("no ink")

    with pytest.raises(RuntimeError, match="no ink"):
        save_study(tmp_path, rows, summarise(rows), [], draw=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    rows = fleet_rows(3)
    with pytest.raises(SpecError, match="cannot write"):
        save_study(tmp_path / "file" / "study", rows, summarise(rows), [])
