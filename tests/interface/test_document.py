"""The page on Fleet-v0 is true and up to date."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.interface.document import BLOCKS, main, render_page
from tokenfleet.envs.spec import SpecError

PAGE = Path(__file__).parents[2] / "docs" / "environments" / "fleet.md"
# The default scenario may be tuned without touching the page; its tables are made anew when the page is.
TUNABLE = {"scenario default"}


@pytest.mark.parametrize("block", sorted(set(BLOCKS) - TUNABLE))
def test_the_generated_parts_are_up_to_date(block: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert render_page(page, [block]) == page, "run python -m tokenfleet.envs.interface.document PAGE"


def test_the_page_has_a_place_for_every_part() -> None:
    assert render_page(PAGE.read_text(encoding="utf-8"))


def test_the_worked_example_is_true() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 20
    assert failed == 0


def test_a_scenario_of_ones_own_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "tiny"]) == 0
    printed = capsys.readouterr().out
    entries = {field.name for field in VIEW if set(field.axis) <= set("SPKL")}  # tiny has nothing else
    assert all(f"`{name}`" in printed for name in entries)
    assert "| `cap_w` | lab | 0 to 22800 | W |" in printed
    assert "lab in 5 s, lab in 15 s" in printed


def test_mistakes_exit_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--scenario", "tinny"]) == 2
    assert "did you mean 'tiny'?" in capsys.readouterr().err
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    assert main([str(page)]) == 2
    with pytest.raises(SpecError, match="no part marked <!-- generated: action -->"):
        render_page("nothing here")
