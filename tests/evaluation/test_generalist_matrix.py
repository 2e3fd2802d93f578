"""Fine-tuning of a generalist in one scenario, and the matrix of generalist, specialists and rules."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.generalist import finetune, search
from tokenfleet.evaluation.generalist.matrix import __main__ as matrix
from tokenfleet.evaluation.generalist.matrix import entrants
from tokenfleet.evaluation.generalist.matrix.entrants import (
    COLUMNS,
    FINE_TUNED,
    OTHERS,
    RULE,
    SPECIALIST,
    ZERO_SHOT,
    Entrant,
    rivals_of,
)
from tokenfleet.evaluation.generalist.matrix.page import page
from tokenfleet.evaluation.generalist.matrix.row import Cell, Row, row_of
from tokenfleet.evaluation.generalist.rollouts import KnownFleet, scores_and_seconds
from tokenfleet.evaluation.leaderboard import cells
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.evaluation.robustness.rivals import scenarios_with_rivals
from tokenfleet.policies.generalist.weights import load_weights, save_weights, start, weights_hash

QUICK = "--generations 2 --population 4 --episodes 1 --validation-episodes 2"
EPISODES = 20


def test_fine_tuning_begins_at_the_weights_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = shlex.split(f"--scenario tiny {QUICK} --out {tmp_path}")
    assert finetune.main(typed) == 0
    path, weights = tmp_path / "tiny.safetensors", load_weights("generalist", "weights")
    found, record = weights_hash(load_weights(str(path), "path")), json.loads((tmp_path / "tiny.json").read_text())
    begun, _ = scores_and_seconds(weights, KnownFleet(load_scenario("tiny"), "validation", tuple(episode_seeds(0, 2))))
    assert record["card"]["scores"][0] == begun.mean()
    path.unlink()
    monkeypatch.setattr(search, "scores_and_seconds", None)
    assert finetune.main(typed) == 0
    assert weights_hash(load_weights(str(path), "path")) == found


def test_a_folder_of_other_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = f"--scenario tiny {QUICK} --weights {tmp_path / 'mine.safetensors'} --out {tmp_path}"
    save_weights(tmp_path / "mine.safetensors", start(0, 0), {})
    assert finetune.main(shlex.split(typed)) == 0
    save_weights(tmp_path / "mine.safetensors", start(1, 0), {})
    assert finetune.main(shlex.split(typed)) == 2
    assert "holds a screen with start" in capsys.readouterr().err


def test_a_matrix_measures_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entrants, "RULES", ("careful_operator",))
    typed = shlex.split(f"--scenario tiny {QUICK} --test-episodes 2 --out {tmp_path} --docs {tmp_path / 'docs'}")
    assert matrix.main(typed) == 0
    first, written = capsys.readouterr().out, (tmp_path / "docs" / "generalist-matrix.md").read_text()
    assert (tmp_path / "docs" / "images" / "generalist.png").stat().st_size > 10_000
    monkeypatch.setattr(search, "scores_and_seconds", None)
    monkeypatch.setattr(cells, "measure_cell", None)
    assert matrix.main(typed) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "docs" / "generalist-matrix.md").read_text() == written


def test_a_matrix_does_without_fine_tuning_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entrants, "RULES", ("careful_operator",))
    monkeypatch.setattr(search, "scores_and_seconds", None)
    assert matrix.main(shlex.split(f"--scenario tiny --as-on-file --test-episodes 2 --out {tmp_path}")) == 0
    assert "fine-tuned none" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.json"]


def _row(name: str, lead: float) -> Row:
    """The generalist ahead of the best rule by `lead` after fine-tuning alone; every other specialist refuses."""
    noise = np.random.default_rng(0).normal(size=EPISODES)
    usd = {"worse": noise, "best": 5.0 + noise, ZERO_SHOT: 5.0 + noise, FINE_TUNED: 5.0 + lead + noise}
    columns = {"worse": RULE, "best": RULE, ZERO_SHOT: ZERO_SHOT, FINE_TUNED: FINE_TUNED}
    present = [Entrant(column, one, one, "") for one, column in columns.items()]
    measured: dict[str, dict[str, Any]] = {
        one.key: {"net_value_usd": usd[one.name].tolist(), "above_cap_s": 1.0} for one in present
    }
    other = Entrant(OTHERS, "pretrained/other", "pretrained/other", "")
    return row_of(name, [*present, other], measured | {other.key: {"refused": "no such site"}}, None)


def test_a_column_of_several_shows_the_best_and_counts_who_refused() -> None:
    row = _row("x", 0.5)
    assert row.cells[RULE].name == "best"
    assert OTHERS not in row.cells
    assert row.refused[OTHERS] == 1
    assert row.lead(FINE_TUNED, RULE).estimate == pytest.approx(0.5)
    assert row.lead(FINE_TUNED, SPECIALIST) is None


def test_the_page_counts_losses() -> None:
    text = page([_row("won", 0.5), _row("lost", -0.5)], load_protocol(), EPISODES, finetune.FinetuningOptions())
    assert "| fine-tuned | best rule | 1 | 0 | 1 |" in text
    assert "| generalist | best rule | 0 | 2 | 0 |" in text
    assert "| `won` | `best` " in text
    assert "1 refuse" in text


def test_the_page_says_where_value_is_bought_with_seconds_above_a_cap() -> None:
    """Five percent or a second more than the specialist's count as no more."""
    usd = np.zeros(EPISODES)
    seconds = {"longer": 12.0, "as long": 11.0, "shorter": 0.0}
    rows = [
        Row(
            name,
            {SPECIALIST: Cell("", usd, 10.0), FINE_TUNED: Cell("", usd, above_cap_s)},
            dict.fromkeys(COLUMNS, 0),
            None,
        )
        for name, above_cap_s in seconds.items()
    ]
    text = page(rows, load_protocol(), EPISODES, finetune.FinetuningOptions())
    assert "on **2 of 3**. Not on `longer`," in text


def test_every_benchmark_has_every_rival() -> None:
    names = scenarios_with_rivals()
    for name in names:
        columns = [one.column for one in rivals_of(name)]
        assert set(columns) == set(COLUMNS) - {ZERO_SHOT, FINE_TUNED}
        assert columns.count(OTHERS) == len(names) - 1
    assert {one.column for one in rivals_of("tiny")} == {RULE, OTHERS}
