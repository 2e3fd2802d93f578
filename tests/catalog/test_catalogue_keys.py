"""docs/catalogue-keys.md names every key of a board, an interconnect and a model as it is checked today."""

from __future__ import annotations

from pathlib import Path

from tools.catalogue_keys import page

PAGE = Path(__file__).parents[2] / "docs" / "catalogue-keys.md"


def test_the_page_is_up_to_date() -> None:
    """Else run `python -m tools.catalogue_keys docs/catalogue-keys.md`."""
    assert page() == PAGE.read_text(encoding="utf-8")


def test_a_key_that_is_filled_in_says_from_what() -> None:
    rows = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    assert "| **required** |" in rows["tdp_w"]
    assert "| from the data sheet |" in rows["joule_per_flop"]
    assert "| from the lines |" in rows["all_to_all"]
