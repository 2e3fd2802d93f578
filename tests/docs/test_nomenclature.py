"""docs/nomenclature.md lists every number at an interface."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import OUTCOMES, VIEW
from tokenfleet.envs.layers.llm.iteration import Batch
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.supervision.setpoints import Setpoints

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "nomenclature.md").read_text(encoding="utf-8")
TOOL = runpy.run_path(str(ROOT / "tools" / "nomenclature.py"))
ROWS = {row for row in PAGE.splitlines() if row.startswith("| `")}
LISTED = {re.split(r"`", row)[1] for row in ROWS}


def test_the_page_is_what_the_tool_writes() -> None:
    """Else run `python tools/nomenclature.py docs/nomenclature.md`."""
    assert TOOL["page"]() == PAGE


@pytest.mark.parametrize("record", [FleetArrays, Episode, Controls, Setpoints])
def test_every_quantity_is_on_the_page(record: type) -> None:
    assert [q.name for q in quantities_of(record) if q.name not in LISTED] == []


def test_every_field_is_on_the_page_with_its_meaning() -> None:
    assert [f.name for f in (*VIEW, *OUTCOMES) if not any(f"`{f.name}`" in row and f.doc in row for row in ROWS)] == []


def test_every_letter_of_a_shape_is_explained() -> None:
    used = {letter for shape in re.findall(r"\| \[([A-Z, ]+)\] \|", PAGE) for letter in shape.split(", ")}
    section = PAGE.split("## Axes")[1].split("\n## ")[0]
    assert used <= set(re.findall(r"\| `(\w)` \|", section))


def test_the_symbols_are_those_of_the_code() -> None:
    code = {field.name for field in fields(Batch)}
    code |= {q.name for q in quantities_of(Controls)}
    assert {name for _, name, *_ in TOOL["SYMBOLS"] if name} <= code
