"""docs/validation.md and its figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from calibration.claims.comparison import Claim, Comparison
from calibration.claims.emergent import Fact
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

Nobody put these in; the engine has to show them (`calibration/claims/emergent.py`).

| fact | published | found | holds |
|---|---|---|---|
"""
MISSING = """
## Not judged yet

Whole prompts of mixtures of experts: the runs of ML.ENERGY say little of them; only kernels are judged above. Watts of
a mixture in fp8 on any board but the H100. A model over several boards without NVLink, end to end: no such run is at
hand, only its products, attention and all-reduces, one by one. In vLLM's runs over NVLink, the time that serving adds
does not grow with the boards that share a model. [Layers](layers.md) says what is known of two boards
over PCIe, and what is not.
"""


def page(found: Mapping[Claim, Comparison], facts: Sequence[Fact]) -> str:
    """The whole page."""
    rows = [row(claim, comparison) for claim, comparison in found.items()]
    shown = [fact_row(fact) for fact in facts]
    picture = "\n\n![Predicted against measured](images/validation.png)\n"
    return HEAD + "\n".join(rows) + picture + FACTS_HEAD + "\n".join(shown) + "\n" + MISSING


def goal(claim: Claim) -> str:
    """The target in words."""
    return "" if claim.target is None else f"{claim.target:.0%}"


def row(claim: Claim, found: Comparison) -> str:
    """A claim's row of the page."""
    met = "" if claim.target is None else "yes" if claim.holds(found) else "**no**"
    numbers = f"{len(found.errors)} | {found.mean_error:.1%} | {found.errors.max():.1%} | {goal(claim)} | {met}"
    return f"| {claim.name}: {claim.judged} | {numbers} |"


def fact_row(fact: Fact) -> str:
    """A fact's row of the page."""
    return f"| {fact.name} | {fact.published} | {fact.found} | {'yes' if fact.holds else '**no**'} |"


def draw(found: Mapping[Claim, Comparison], path: Path) -> None:
    """One small scatter for each claim with several values, predicted against measured, both over the largest."""
    shown = {claim.name: each for claim, each in found.items() if np.ptp(each.measured) > 0.0}
    with house_style():
        rows = -(-len(shown) // COLUMNS)
        figure, grid = new_figure(rows, COLUMNS, 3.2 * COLUMNS, 2.9 * rows)
        for unused in grid.flat[len(shown) :]:
            unused.axis("off")
        for axes, (name, each) in zip(grid.flat, shown.items(), strict=False):
            scale = float(np.abs(each.measured).max())
            axes.plot([0.0, 1.1], [0.0, 1.1], color=MUTED, linewidth=1.0)
            axes.scatter(each.measured / scale, each.predicted / scale, s=9, color=BLUE)
            axes.set_title(textwrap.fill(name, TITLE_WIDTH), fontsize=8)
        for axes in grid[:, 0]:
            axes.set_ylabel("predicted", fontsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("measured, over the largest", fontsize=8)
        figure.savefig(path, dpi=100)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
