"""Compare predicted with measured: `python -m calibration.validation [--docs docs]`, about half a minute.

Writes docs/validation.md, a table of every claim and fact, and one scatter figure of each claim that has values.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from calibration.validation.claims import CLAIMS, FACTS, Claim
from calibration.validation.emergent import Fact
from tokenfleet.evaluation.style import BLUE, MUTED, house_style, new_figure

COLUMNS = 3
COLOURS = 32
TITLE_WIDTH = 40  # characters
HEAD = """# Validation

What the model predicts against what others measured. `make validate` recomputes all of it and writes this page; every
row says what was fitted and what judged it. An error is a mean absolute relative one.

| claim | values | error | worst | target | met |
|---|---|---|---|---|---|
"""
FACTS_HEAD = """
## Facts that must emerge

Nobody put these in; the engine has to show them (`calibration/validation/emergent.py`).

| fact | published | found | holds |
|---|---|---|---|
"""
MISSING = """
## Not judged yet

Prompts of mixtures of experts: the runs of ML.ENERGY say little of them, and the kernels of their products are not in
`calibration/data`.
"""


def main() -> None:
    """Compute, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of validation.md and images/")
    arguments = parser.parse_args()
    claims = [claim() for claim in CLAIMS]
    facts = [fact() for fact in FACTS]
    for claim in claims:
        print(f"{claim.name:60} {claim.errors.mean():7.2%} {goal(claim):>6}")
    for fact in facts:
        print(f"{'holds' if fact.holds else 'FAILS':6} {fact.name}: {fact.found}")
    (arguments.docs / "validation.md").write_text(page(claims, facts), encoding="utf-8")
    draw([claim for claim in claims if np.ptp(claim.measured) > 0.0], arguments.docs / "images" / "validation.png")


def goal(claim: Claim) -> str:
    """The target in words."""
    return "" if claim.target is None else f"{claim.target:.0%}"


def page(claims: list[Claim], facts: list[Fact]) -> str:
    """The whole page."""
    rows = []
    for claim in claims:
        error, worst = claim.errors.mean(), claim.errors.max()
        met = "" if claim.target is None else "yes" if error <= claim.target else "**no**"
        numbers = f"{len(claim.errors)} | {error:.1%} | {worst:.1%} | {goal(claim)} | {met}"
        rows.append(f"| {claim.name}: {claim.judged} | {numbers} |")
    shown = [
        f"| {fact.name} | {fact.published} | {fact.found} | {'yes' if fact.holds else '**no**'} |" for fact in facts
    ]
    picture = "\n\n![Predicted against measured](images/validation.png)\n"
    return HEAD + "\n".join(rows) + picture + FACTS_HEAD + "\n".join(shown) + "\n" + MISSING


def draw(claims: list[Claim], path: Path) -> None:
    """One small scatter for each claim, predicted against measured, both over the largest measured value."""
    with house_style():
        rows = -(-len(claims) // COLUMNS)
        figure, grid = new_figure(rows, COLUMNS, 3.2 * COLUMNS, 2.9 * rows)
        for unused in grid.flat[len(claims) :]:
            unused.axis("off")
        for axes, claim in zip(grid.flat, claims, strict=False):
            scale = float(np.abs(claim.measured).max())
            axes.plot([0.0, 1.1], [0.0, 1.1], color=MUTED, linewidth=1.0)
            axes.scatter(claim.measured / scale, claim.predicted / scale, s=9, color=BLUE)
            axes.set_title(textwrap.fill(claim.name, TITLE_WIDTH), fontsize=8)
        for axes in grid[:, 0]:
            axes.set_ylabel("predicted", fontsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("measured, over the largest", fontsize=8)
        figure.savefig(path, dpi=100)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
