"""What the model is held to: every claim within its target, every fact as published."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from calibration.claims import __main__ as command
from calibration.claims.comparison import Claim
from calibration.claims.emergent import FACTS, Fact
from calibration.claims.expected import CLAIM_OF
from calibration.claims.page import fact_row, row
from calibration.claims.registry import CLAIMS
from calibration.claims.wiring import wiring_rows
from tokenfleet.envs.catalog import load_entry

PAGE = (Path(__file__).parents[2] / "docs" / "accuracy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_is_within_its_target(claim: Claim) -> None:
    found = claim.compare()
    assert claim.holds(found), dict(zip(found.group, found.signed_errors.round(3).tolist(), strict=True))
    assert len(found.measured) == len(found.predicted) == len(found.group)
    assert row(claim, found) in PAGE


def test_every_claim_says_in_words_of_its_own_what_judges_it() -> None:
    library = (partial.__doc__ or "").split("\n")[0].rstrip(".")
    assert [claim.name for claim in CLAIMS if claim.judged in ("", library)] == []


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_a_published_fact_emerges(fact) -> None:
    found: Fact = fact()
    assert found.holds, found.found
    assert fact_row(found) in PAGE


@pytest.mark.parametrize("wiring", wiring_rows())
def test_the_page_says_what_wiring_and_planning_do_to_two_boards(wiring) -> None:
    assert wiring in PAGE


def test_the_errors_that_runs_announce_are_those_of_the_page() -> None:
    """To its digit, so that a claim that changes changes both."""
    errors = load_entry("accuracy", "claims")["errors"]
    found = [each for kinds in errors.values() for quantities in kinds.values() for each in quantities.values()]
    wanted = [claim for kinds in CLAIM_OF.values() for quantities in kinds.values() for claim in quantities.values()]
    assert [each["claim"] for each in found] == wanted
    cells = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    rows = {row[1].split(":")[0].strip(): row[3] for row in cells}
    assert [each for each in found if f"{each['error']:.1%}" != rows[each["claim"]].strip()] == []


def test_words_choose_claims_to_print_value_by_value_or_group_by_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["vllm 0.19, mean tpot", "Perseus, time"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines if not line.startswith(" ")] == [
        "vLLM 0.19, mean TPOT",
        "Perseus, time by clock",
    ]
    assert any(line.split()[0] == "rtx-4090" for line in lines)
    assert sum("38 values" in line for line in lines) == 3


def test_a_word_that_no_claim_holds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["wattage"]) == command.USER_MISTAKE
    assert "no claim's name holds 'wattage'; there are: products of matrices, as fitted;" in capsys.readouterr().err
