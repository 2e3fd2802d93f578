"""Learned policies under shifts: resumable, paired, and losses are told as losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenfleet.envs.scenario import ShiftSpec
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.robustness import __main__ as robustness
from tokenfleet.evaluation.robustness import episodes
from tokenfleet.evaluation.robustness.matrix import AS_TRAINED, cell, verdict
from tokenfleet.evaluation.robustness.page import page
from tokenfleet.evaluation.robustness.rivals import rules_of, scenarios_with_rivals
from tokenfleet.policies.policy_files import shipped_names

EPISODES = 20


def _measured(ahead_of_rule: float, ahead_of_constants: float) -> dict[str, dict[str, Any]]:
    noise = np.random.default_rng(0).normal(size=EPISODES)
    values = {
        "pretrained/x": 5.0 + noise,
        "tuned/x/constants": 5.0 + noise - ahead_of_constants,
        "best": 5.0 + noise - ahead_of_rule,
        "worse": noise,
    }
    found = {name: {"net_value_usd": usd.tolist(), "above_cap_s": 1.0} for name, usd in values.items()}
    return found | {"elsewhere": {"refused": "no battery"}}


def _run(folder: Path) -> int:
    shifts = ["--shift", "more-load", "--shift", "other-months", "--shift", "smaller-fleet"]
    sizes = ["--episodes", "2", "--workers", "1", "--out", str(folder), "--docs", str(folder / "docs")]
    return robustness.main(["--scenario", "default", *shifts, *sizes])


def test_what_is_on_file_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(robustness, "rules_of", lambda scenario: ["careful_operator"])
    assert _run(tmp_path) == 0
    first = capsys.readouterr().out
    # Neither another part of the year nor a fifth of so few replicas makes `default` another scenario.
    assert [line.split("learned")[0].split(maxsplit=1)[1].strip() for line in first.splitlines()] == [
        AS_TRAINED,
        "more-load",
    ]
    written = (tmp_path / "docs" / "robustness.md").read_text()
    assert (tmp_path / "docs" / "images" / "robustness.png").stat().st_size > 10_000
    monkeypatch.setattr(episodes, "measure_cell", None)
    assert _run(tmp_path) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "docs" / "robustness.md").read_text() == written


def test_the_rival_is_the_best_rule_in_these_episodes() -> None:
    found = cell("x", "more-load", _measured(0.5, -0.25), ["elsewhere", "worse", "best"])
    assert found.rule == "best"
    assert found.ahead.estimate == pytest.approx(0.5)
    assert verdict(found.ahead) == "ahead"
    assert verdict(found.ahead_of_constants) == "behind"


def test_the_page_counts_losses() -> None:
    shifts = [ShiftSpec(name="more-load", description="More.")]
    cells = [
        cell("x", shift, _measured(lead, lead), ["best"]) for shift, lead in ((AS_TRAINED, 1.0), ("more-load", -1.0))
    ]
    text = page(cells, shifts, EPISODES)
    assert "against the best rule **ahead in 0 of 1**; behind in 1: `x` more-load." in text
    assert "-1.000 [-1.000, -1.000] | behind" in text


def test_every_learned_policy_of_a_scenario_has_rules_to_meet() -> None:
    learned = {name.removeprefix("pretrained/") for name in shipped_names() if name.startswith("pretrained/")}
    assert set(scenarios_with_rivals()) == learned - {"generalist"}
    assert all(len(rules_of(name)) == 5 for name in scenarios_with_rivals())


def test_a_scenario_without_a_learned_policy_is_refused() -> None:
    with pytest.raises(SpecError, match="--scenario: no learned policy ships for 'tiny'"):
        rules_of("tiny")
