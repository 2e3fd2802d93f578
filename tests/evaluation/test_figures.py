"""Figures show what they are given, and files appear whole."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.known_answers import TINY, Constant, countdowns
from tests.evaluation.synthetic import fleet_rows, rows_of
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation import figures, style
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.learning import curve, read_progress
from tokenfleet.evaluation.summary import summarise
from tokenfleet.evaluation.timeline import Timeline, record_timeline

PROGRESS = """steps,episode/return,validation/return,validation/above_cap_s
8192,1.0,,
16384,2.0,2.5,10.0
24576,3.0,,
"""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved while a test runs."""
    kept: list[Any] = []
    save = style.save

    def keep(figure: Any, path: Path) -> Path:
        kept.append(figure)
        return save(figure, path)

    monkeypatch.setattr(style, "save", keep)
    return kept


def neutral() -> Candidate:
    return Candidate(Constant(np.zeros(TINY(1).single_action_space.shape, np.float32)), "neutral")


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_the_comparison_shows_every_policy_and_the_paired_difference(tmp_path: Path, drawn: list[Any]) -> None:
    summary = summarise(fleet_rows())
    path = figures.draw_comparison(summary, tmp_path / "comparison.png")
    assert is_png(path)
    axes = drawn[0].axes
    titles = [panel.get_title(loc="left") for panel in axes]
    assert titles == ["net value", "net value, paired", "goodput", "SLO attainment", "above cap"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(summary.ranking)
    dots = [
        float(line.get_xdata()[0]) for line in axes[3].lines if line.get_marker() == "o" and len(line.get_xdata()) == 1
    ]
    expected = [100 * summary.estimates[name]["slo_attainment"].mean.estimate for name in summary.ranking]
    assert dots == pytest.approx(expected)


def test_the_comparison_of_a_foreign_environment_shows_its_return(tmp_path: Path, drawn: list[Any]) -> None:
    rows = rows_of("a", [1.0, 2.0, 3.0], "return") + rows_of("b", [2.0, 2.0, 5.0], "return")
    figures.draw_comparison(summarise(rows), tmp_path / "comparison.png")
    assert [panel.get_title(loc="left") for panel in drawn[0].axes] == ["return", "return, paired"]


def test_a_timeline_adds_up_to_the_episode_row() -> None:
    row = evaluate_policy(TINY, neutral(), 1, 0)[0]
    timeline = record_timeline(TINY, neutral(), row.seed)
    assert timeline.power_w.shape == (20, 1)
    assert timeline.clock_fraction.shape == (20, 2)
    assert timeline.power_w.sum() / 3.6e6 == pytest.approx(row.metrics["energy_kwh"])
    above = timeline.power_w > timeline.cap_w
    assert above.sum() == row.metrics["above_cap_s"]
    # The view holds the cap as float32.
    peak_w = max(float((timeline.power_w - timeline.cap_w).max()), 0.0)
    assert peak_w == pytest.approx(row.metrics["peak_over_cap_w"], abs=0.01)
    attained = timeline.completed_in_slo.sum()
    ended = row.metrics["completed"] + row.metrics["refused"] + row.metrics["expired"]
    assert attained / ended == pytest.approx(row.metrics["slo_attainment"])


def test_a_timeline_needs_a_fleet() -> None:
    with pytest.raises(SpecError, match="only a fleet"):
        record_timeline(countdowns, Candidate(Constant(1), "one"), 0)


def hand_made(policy: str) -> Timeline:
    """Two ticks of 5 s at one site: above the cap, then under the brake."""
    return Timeline(
        policy=policy,
        seed=1,
        tick_s=5.0,
        sites=("lab",),
        rooms=(),
        pools=("pool",),
        classes=("chat",),
        room_limit_c=np.zeros(0),
        power_w=np.array([[3000.0], [1000.0]]),
        cap_w=np.array([[2000.0], [2000.0]]),
        braked=np.array([[0.0], [1.0]]),
        room_c=np.zeros((2, 0)),
        clock_fraction=np.array([[1.0], [0.2]]),
        queued_requests=np.array([[0.0], [7.0]]),
        running_requests=np.array([[1.0], [1.0]]),
        held_requests=np.zeros((2, 1)),
        completed_in_slo=np.zeros((2, 1)),
        arrived=np.zeros((2, 1)),
    )


def test_the_episode_figure_marks_excess_and_brake_in_their_own_ticks(tmp_path: Path, drawn: list[Any]) -> None:
    assert is_png(figures.draw_timeline([hand_made("a"), hand_made("b")], tmp_path / "episode.png"))
    power = drawn[0].axes[0]
    above, brake = power.patches
    assert above.get_path().get_extents().extents.tolist() == [0.0, 2.0, 5.0, 3.0]
    assert brake.get_path().get_extents().extents.tolist() == [5.0, 0.0, 10.0, 1.0]
    assert [panel.get_title(loc="left") for panel in drawn[0].axes[:2]] == ["a", "b"]


def test_the_episode_figure_shows_rooms_where_there_are_any(tmp_path: Path, drawn: list[Any]) -> None:
    warm = replace(hand_made("a"), rooms=("lab",), room_limit_c=np.array([32.0]), room_c=np.array([[30.0], [33.0]]))
    figures.draw_timeline([warm], tmp_path / "warm.png")
    figures.draw_timeline([hand_made("a")], tmp_path / "plain.png")
    assert [len(figure.axes) for figure in drawn] == [4, 3]
    limit, air = drawn[0].axes[1].lines
    assert list(limit.get_ydata()) == [32.0, 32.0]
    assert list(air.get_ydata()) == [30.0, 33.0, 33.0]


def test_a_learning_curve_shows_validation_and_training(tmp_path: Path, drawn: list[Any]) -> None:
    (tmp_path / "progress.csv").write_text(PROGRESS)
    progress = read_progress(tmp_path)
    steps, values = curve(progress, "validation/return")
    assert (steps.tolist(), values.tolist()) == ([16384.0], [2.5])
    assert curve(progress, "validation/none")[0].size == 0
    assert is_png(figures.draw_learning({"ppo-seed0": progress}, tmp_path / "learning.png"))
    assert [panel.get_title(loc="left") for panel in drawn[0].axes] == ["return", "above cap"]


@pytest.mark.parametrize("content", [None, "", "steps,a\n1,word\n", "a,b\n1,2\n", "steps,a\n1\n"])
def test_a_run_without_a_readable_log_is_named_and_the_rest_is_drawn(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    run, out = tmp_path / "run", tmp_path / "figures"
    run.mkdir()
    out.mkdir()
    if content is not None:
        (run / "progress.csv").write_text(content)
    summary = summarise(rows_of("a", [1.0, 2.0]) + rows_of("b", [2.0, 3.0]))
    with caplog.at_level(logging.WARNING):
        figures.draw_figures(summary, [], {"ppo-seed0": run}, out)
    assert [path.name for path in out.iterdir()] == ["comparison.png"]
    assert "no learning curve for ppo-seed0" in caplog.text
    assert str(run) in caplog.text
