"""`tune.py` as its user meets it: it tunes, goes on after an interruption, and writes what the other scripts take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import QUICK, Run
from tokenfleet.evaluation.screen import record

TUNE = (
    "tune scenario=tiny scenario.horizon_ticks=30 policy=feedback_capping evaluations=8 population=4 episodes=2 "
    "validation.episodes=3 workers=1"
)


class PowerCut(BaseException):
    """The process dies here."""


def means_in_validation(measured: dict[str, Any], metric: str) -> list[float]:
    """Of the policy that was there before, of constants and of feedback."""
    rows = [measured[f"validation/{name}"][metric] for name in ("before", "constants", "feedback")]
    return [sum(row) / len(row) for row in rows]


def test_a_tuned_policy_is_one_for_the_other_scripts(run: Run, tmp_path: Path) -> None:
    assert run(f"{TUNE} hydra.run.dir=tuned").code == 0
    tuned = yaml.safe_load((tmp_path / "tuned/tuned.yaml").read_text())
    assert tuned["policy"]["name"] == "feedback_capping"
    assert {"name", "gain", "margin", "ahead_s"} <= set(tuned["policy"]["clocking"])
    assert tuned["found"]["validation"]["value"] >= tuned["found"]["validation"]["before"]
    assert json.loads((tmp_path / "tuned/manifest.json").read_text())["status"] == "complete"
    evaluated = run(
        "evaluate scenario=tiny scenario.horizon_ticks=30 policies=[feedback_capping,tuned/tuned.yaml] episodes=2 "
        "figures=false"
    )
    assert evaluated.code == 0, evaluated.errors
    assert "tuned/feedback_capping" in evaluated.out
    trained = run(
        f"train scenario=tiny scenario.horizon_ticks=30 {QUICK} policy.base=tuned/tuned.yaml hydra.run.dir=own"
    )
    assert trained.code == 0, trained.errors
    kept = yaml.safe_load((tmp_path / "own/config.yaml").read_text())
    assert kept["policy"]["base"] == tuned["policy"]


def test_a_tuner_that_was_killed_goes_on_to_the_same(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(f"{TUNE} hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patch:
        kept: list[str] = []
        once = record.MeasurementFile.once

        def dies(self: record.MeasurementFile, name: str, measure: object) -> object:
            if len(kept) == 1:
                raise PowerCut
            kept.append(name)
            return once(self, name, measure)  # type: ignore[arg-type]

        patch.setattr(record.MeasurementFile, "once", dies)
        with pytest.raises(PowerCut):
            run(f"{TUNE} hydra.run.dir=cut")
    assert run("tune resume=cut").code == 0
    assert (tmp_path / "cut/tuned.yaml").read_text() == (tmp_path / "whole/tuned.yaml").read_text()


def test_gains_are_searched_for_linear_feedback(run: Run, tmp_path: Path) -> None:
    typed = "policy=linear_feedback feedback_generations=1 validation.episodes=3 workers=1 hydra.run.dir=followed"
    assert run(f"tune scenario=tiny scenario.horizon_ticks=30 {typed}").code == 0
    tuned = yaml.safe_load((tmp_path / "followed/tuned.yaml").read_text())
    measured = json.loads((tmp_path / "followed/search.json").read_text())["measured"]
    untuned, constants, feedback = means = means_in_validation(measured, "net_value_usd")
    assert tuned["policy"]["name"] == ("supervisor" if constants >= feedback else "linear_feedback")
    assert tuned["found"]["validation"]["before"] == pytest.approx(untuned, abs=1e-6)
    assert tuned["found"]["validation"]["value"] == pytest.approx(max(means), abs=1e-6)


def test_feedback_keeps_a_limit_on_seconds_above_a_cap(run: Run, tmp_path: Path) -> None:
    typed = "policy=linear_feedback feedback_generations=1 above_cap_limit_s=0 validation.episodes=3 workers=1"
    assert run(f"tune scenario=tiny scenario.horizon_ticks=30 {typed} hydra.run.dir=limited").code == 0
    tuned = yaml.safe_load((tmp_path / "limited/tuned.yaml").read_text())
    measured = json.loads((tmp_path / "limited/search.json").read_text())["measured"]
    seconds, means = means_in_validation(measured, "above_cap_s"), means_in_validation(measured, "net_value_usd")
    allowed = [mean for mean, above_s in zip(means, seconds, strict=True) if above_s <= min(seconds)]
    assert tuned["found"]["validation"]["value"] == pytest.approx(max(allowed), abs=1e-6)
    assert tuned["found"]["above_cap_limit_s"] == 0.0
    assert any(name.startswith("feedback within") for name in measured)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("feedback_generations=2", "policy: with feedback_generations say linear_feedback"),
        (
            "policy=linear_feedback feedback_generations=2 +env.kwargs.reward_scale=2",
            "env.kwargs.reward_scale: the search of feedback knows env=fleet and env=fleet_setpoints",
        ),
        ("above_cap_limit_s=3", "above_cap_limit_s: is for the search of feedback; set feedback_generations too"),
        ("policy=random", "policy: random declares no number that could be tuned"),
        ("policy=feedback_caping", "did you mean 'feedback_capping'"),
        ("evaluations=1", "evaluations"),
        ("policy=nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(typed: str, words: str, run: Run, tmp_path: Path) -> None:
    outcome = run(f"tune scenario=tiny workers=1 {typed}")
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert words in outcome.errors
    assert not list(tmp_path.iterdir())
