"""docs/accuracy.md and its figure."""

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
HEAD = """# Accuracy

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
MISSED = """
## Targets that are missed, and why

**Board power with model and step left out: {dense} against 8 %.** Given the measured step the same runs are 5.5 % off,
and on H100 they are 7.6 % off without it. A third of all error is of two 8B models on B200, 17 of 129 runs. Their
servers wait: Llama 3.1 8B takes 9.0 ms a step with 64 sequences and 26.7 ms with 128, where Qwen3 8B takes 12.9 and
12.1 ms. One model's measured watts predict the other's 27 % off, and any law that gives both the same watts is 10 % off
at least. Other B200 runs of up to 14B wait too, but less: the ninetieth percentile of inter-token latency is 1.2 to 2.5
times the median there, and 1.0 to 1.4 times on H100. Nothing in the runs says when a host waits, so no number for it
could be judged. At the measured step, Llama 3.1 8B on H100 draws 17 % more than the law of the others has, and Qwen3
32B draws 15 % more on one board and 1 % less on two: boards, or the values that they multiply, differ. Two laws were
tried in November 2026 and left, as the mean error grew: a FLOP in fp8 for half the joules of one in bf16 (10.1 %), and
a law that takes kernels and the pauses between them apart (12.7 %).

**Board power of a mixture with its step left out: {mixture} against 10 %.** It is 9.4 % off on H100 and 14.5 % on B200.
The law of watts does not fail there: at the measured step the B200's runs are 6.0 % off, and those of the H100 7.7 %.
What fails is the step, as servers of the B200 wait. Their mean iteration takes 1.16 to 1.64 times the median, by model
and task; the roofline says 0.99 to 1.10 times. The ninetieth percentile of inter-token latency is 2.1 times the median
in the mean of the B200's runs, and 1.2 times on H100. The 86 runs whose mean iteration is predicted within 15 % are
8.5 % off in watts, and the 47 others 13.8 %; 18 of the 26 runs on B200 are among these, all of them predicted too fast.
Llama 4 Scout is worst with 19 %, as its iterations with prompts are 17 % off: without it the error is 9.0 %.

**E2E of a server on a roofline, planned as in 2025: {unplanned} against 10 %.** The two real servers at hand run vLLM
0.19, which plans an iteration while the one before it runs. A pool is taken to plan in turn unless it says
`async_scheduling: true`, as did the servers of 2025 that the costs of serving are fitted to. Planning in turn takes
0.39 ms an iteration and 42 us a sequence, 5.7 ms with 128 sequences. The servers take 32.5 and 32.4 ms a token. The
roofline says 31.4 and 33.7 ms for servers that plan ahead, and 36.3 and 35.6 ms for servers that do not. So the error
is that of the release: with `async_scheduling: true` E2E is {planned} off. No server that plans in turn was timed on
boards without a profile.

**Board power of a chip left out: {chip}, where 8 % was aimed at for any board.** Each chip is told by two others and
its data sheet, and what a data sheet does not say differs: all of the bandwidth would draw 0.62 of the limit on H100
and 1.1 of it on B200 and A100, the knee is at 0.37 to 0.82. Your own watts settle it (`power_factor`).

**Best clock of the A40's backward passes: 0.052 off against 0.05.** They have a step: below 0.56 of the highest clock
they take 7 to 9 % less than the clocks above say, in both stages alike, so that the slower clock is the faster one. No
law of clocks has that. Had times below the step gone on from those above, the best clock would be 0.603, where half of
the sweep says 0.595, and all clocks from 0.49 to 0.64 would be within 2.4 % of the least energy. A memory-bound share
of each pass and one law of both passes leave the answer at 0.59 to 0.61. Watts that the clock draws whatever the work
cannot be told from those of the work in one sweep, and move the answer anywhere from 0.49 to 0.59.

**A 32B over two PCIe boards, end to end.** No such run is at hand; its parts were timed. Products with matrices of this
size are 4 % off on this board, in the mean 0.1 % too slow, and all-reduces between two boards 1.6 % off. What is not
known is the server. The 300 requests that a real server with one RTX PRO 6000 got, served by a 32B on two:

| two boards over | mean TPOT | mean E2E | mean E2E, planned as in 2025 |
|---|---|---|---|
"""
MISSED_CLAIMS = {
    "dense": "board power, model and step left out",
    "mixture": "board power, mixture and step left out",
    "unplanned": "vLLM 0.19 without a profile, mean E2E, planned as in 2025",
    "planned": "vLLM 0.19 without a profile, mean E2E",
    "chip": "board power, chip left out",
}
"""Claims whose errors `MISSED` tells."""
NEITHER = """
Lines of half the rate and a server that plans as in 2025 make it 30 % slower together. A pool's `interconnect` and
`async_scheduling` say both; without them the catalogue assumes sixteen lanes, peer access, and a server of 2025.
"""
MISSING = """
## Not judged yet

Whole prompts of mixtures of experts: the runs of ML.ENERGY say little of them; only kernels are judged above. Watts of
a mixture in fp8 on any board but the H100. A model over several boards without NVLink, end to end (above). In vLLM's
runs over NVLink, the time that serving adds does not grow with the boards that share a model. [Layers](layers.md) says
more of two boards over PCIe.
"""


def page(found: Mapping[Claim, Comparison], facts: Sequence[Fact], wirings: Sequence[str]) -> str:
    """The whole page; `wirings` are the rows of `wiring_rows`."""
    rows = [row(claim, comparison) for claim, comparison in found.items()]
    shown = [fact_row(fact) for fact in facts]
    picture = "\n\n![Predicted against measured](images/accuracy.png)\n"
    judged = HEAD + "\n".join(rows) + picture + FACTS_HEAD + "\n".join(shown) + "\n"
    error = {claim.name: f"{100.0 * each.mean_error:.1f} %" for claim, each in found.items()}
    missed = MISSED.format(**{key: error[name] for key, name in MISSED_CLAIMS.items()})
    return judged + missed + "\n".join(wirings) + "\n" + NEITHER + MISSING


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
    """A panel for each claim whose measured values differ: predicted against measured, over the largest measured."""
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
