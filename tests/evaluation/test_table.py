"""The table fits whatever it is printed on, and marks the best of each column."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tests.evaluation.synthetic import fleet_rows, rows_of
from tokenfleet.evaluation.summary import Summary, summarise
from tokenfleet.evaluation.table import print_table, shown_columns, table_text


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise(fleet_rows())


def printed(summary: Summary, width: int) -> str:
    text = io.StringIO()
    print_table(summary, Console(file=text, force_terminal=True, width=width, color_system=None))
    return text.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(summary: Summary, width: int) -> None:
    text = printed(summary, width)
    assert max(len(line) for line in text.splitlines()) <= width
    for policy in summary.ranking:
        assert policy in text


def test_columns_that_do_not_fit_are_counted(summary: Summary) -> None:
    shown = " ".join(printed(summary, 80).split())
    assert re.search(r"The summary file has \d+ more columns; a wider terminal shows more\.", shown)
    assert "more column" not in printed(summary, 220)


def test_one_column_that_does_not_fit_is_singular(summary: Summary) -> None:
    assert any("The summary file has 1 more column;" in printed(summary, width) for width in range(100, 160))


def test_one_episode_is_singular() -> None:
    study = summarise([*rows_of("a", [1.0]), *rows_of("b", [2.0])])
    assert "Means over 1 episode that every policy met" in printed(study, 120)


def test_a_file_is_not_told_to_widen_the_terminal(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenfleet.evaluation.table.PLAIN_WIDTH", 80)
    text = table_text(summary)
    assert re.search(r"The summary file has \d+ more columns\.", text)
    assert "terminal" not in text


def test_plain_text_has_no_escapes_and_names_everything(summary: Summary) -> None:
    text = table_text(summary)
    assert "\x1b" not in text
    for heading in ("net value", "goodput", "SLO attainment", "above cap", "brakes", "trips", "efficiency", "p99 TTFT"):
        assert heading in text
    assert "ppo (3 training seeds)" in text
    assert "ppo has the highest net value" in text


def test_the_best_of_a_column_is_marked_and_a_tie_of_all_is_not(summary: Summary) -> None:
    lines = {line.split()[0]: line for line in table_text(summary).splitlines() if line.strip()}
    assert lines["ppo"].count("*") >= 4
    assert lines["random"].count("*") == 0
    # Nobody tripped: that column has no best.
    trips = next(name for name in shown_columns(summary) if name == "trips")
    assert all(estimates[trips].mean.estimate == 0.0 for estimates in summary.estimates.values())
    assert lines["ppo"].count("*") == len(shown_columns(summary)) - 1


def test_policies_stand_in_order_of_net_value(summary: Summary) -> None:
    first_words = [line.split()[0] for line in table_text(summary).splitlines() if line.strip()]
    assert [word for word in first_words if word in summary.ranking][:5] == list(summary.ranking)


def test_a_fleet_is_not_ranked_by_reward_and_a_foreign_environment_is(summary: Summary) -> None:
    assert "return" not in shown_columns(summary)
    assert shown_columns(summarise(rows_of("a", [1.0], "return"))) == ["return"]


def test_numbers_have_the_digits_that_their_uncertainty_allows(summary: Summary) -> None:
    line = next(line for line in table_text(summary).splitlines() if line.strip().startswith("least_work"))
    assert re.search(r"1\.988 \[1\.91\d, 2\.06\d\]", line)
    assert "2998 " in line
