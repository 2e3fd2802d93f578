"""docs/scenario-keys.md names every key of a scenario as it is checked today."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scenario-keys.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    """Else run `python tools/scenario_keys.py docs/scenario-keys.md`."""
    assert runpy.run_path(str(ROOT / "tools" / "scenario_keys.py"))["page"]() == PAGE


def test_every_link_leads_somewhere() -> None:
    heads = {line.removeprefix("## ").lower() for line in PAGE.splitlines() if line.startswith("## ")}
    linked = {part.split(")")[0] for part in PAGE.split("](#")[1:]}
    assert linked
    assert linked <= heads


def test_a_key_is_stated_with_its_range_default_and_unit() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `memory_utilisation`"))
    assert row.startswith("| `memory_utilisation` | number > 0, <= 1 | `0.9` |")
