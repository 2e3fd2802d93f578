"""The page on evaluation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.evaluation.synthetic import fleet_rows
from tokenfleet.envs.files.markdown import with_part
from tokenfleet.evaluation.metrics import markdown_table
from tokenfleet.evaluation.results import write_rows

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
MERGE, FROM_PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_holds_the_table_of_metrics() -> None:
    assert with_part(PAGE, "metrics", markdown_table()) == PAGE, "run python tools/metrics_table.py docs/evaluation.md"


def test_the_example_in_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(FROM_PYTHON, "docs/evaluation.md", "exec"), {"__name__": "example"})
    assert "half_clock" in capsys.readouterr().out


def test_the_example_of_merging_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = fleet_rows(5)
    write_rows(tmp_path / "monday" / "episodes.parquet", rows[:10])
    write_rows(tmp_path / "tuesday" / "episodes.parquet", rows[5:])
    monkeypatch.chdir(tmp_path)
    exec(compile(MERGE, "docs/evaluation.md", "exec"), {"__name__": "example"})
    assert "Means over 5 episodes" in capsys.readouterr().out
