"""docs/ledger.md says what the ledger does."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from tokenfleet.envs.fleet import FleetEnv

PATH = Path(__file__).parents[2] / "docs" / "ledger.md"
PAGE = PATH.read_text(encoding="utf-8")


def test_the_example_by_hand_is_true() -> None:
    failed, tried = doctest.testfile(str(PATH), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 15
    assert failed == 0


def test_the_first_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    short = code.replace('FleetEnv("demand-response-day")', 'FleetEnv("tiny", overrides={"horizon_ticks": 20})')
    exec(compile(short, str(PATH), "exec"), {"__name__": "example"})
    assert "rent of all boards" in capsys.readouterr().out


def test_the_page_names_every_entry_and_every_check() -> None:
    env = FleetEnv("tiny")
    env.reset(seed=0)
    ledger = env.ledger()
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    for entry in ledger.entries:
        item = entry.item.removeprefix("boards ")
        assert any(f"| {entry.layer} |" in row and item in row for row in rows), entry
    for check in ledger.checks:
        layer = check.layer.removesuffix(" layers")
        assert any(row.startswith(f"| {layer} | {check.name} |") for row in rows), check
