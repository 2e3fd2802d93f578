"""Compare predicted with measured: `python -m calibration.claims [WORD ...] [--docs docs]`, about half a minute.

Without words it writes docs/accuracy.md, a table of every claim and fact, a figure with a panel for each claim
whose measured values differ, and the errors that are expected of a profile (`expected`). With words it only prints the
claims whose names hold one of them, value by value where there are few and group by group where there are many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.claims.emergent import FACTS
from calibration.claims.expected import write_accuracy
from calibration.claims.page import draw, goal, page
from calibration.claims.registry import CLAIMS
from calibration.claims.wiring import wiring_rows
from tokenfleet.envs.commands import USER_MISTAKE

FEW_VALUES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="part of the names of the claims to print; nothing is written")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of accuracy.md and images/")
    chosen = parser.parse_args(arguments)
    if chosen.words:
        return show(chosen.words)
    found = {claim: claim.compare() for claim in CLAIMS}
    facts = [fact() for fact in FACTS]
    for claim, comparison in found.items():
        print(summary(claim, comparison))
    for fact in facts:
        print(f"{'holds' if fact.holds else 'FAILS':6} {fact.name}: {fact.found}")
    write_accuracy(found)
    (chosen.docs / "accuracy.md").write_text(page(found, facts, wiring_rows()), encoding="utf-8")
    draw(found, chosen.docs / "images" / "accuracy.png")
    return 0


def show(words: Sequence[str]) -> int:
    """Print the claims whose names hold one of some words."""
    claims = [claim for claim in CLAIMS if any(word.lower() in claim.name.lower() for word in words)]
    if not claims:
        names = "; ".join(claim.name for claim in CLAIMS)
        print(f"WORD: no claim's name holds {' or '.join(map(repr, words))}; there are: {names}", file=sys.stderr)
        return USER_MISTAKE
    for claim in claims:
        comparison = claim.compare()
        print("\n".join([summary(claim, comparison), *details(comparison)]))
    return 0


def summary(claim: Claim, found: Comparison) -> str:
    """Its mean error beside its target."""
    return f"{claim.name:60} {found.mean_error:7.2%} {goal(claim):>6}"


def details(found: Comparison) -> list[str]:
    """Each value with its signed error, or the mean error of each group."""
    if len(found.group) <= FEW_VALUES:
        columns = zip(found.group, found.measured, found.predicted, found.signed_errors, strict=True)
        return [f"    {group:36} {here:12,.4g} {law:12,.4g} {error:+8.1%}" for group, here, law, error in columns]
    groups = pd.Series(found.errors).groupby(list(found.group))
    return [f"    {group:36} {len(errors):4d} values {errors.mean():8.1%}" for group, errors in groups]


if __name__ == "__main__":
    sys.exit(main())
