"""Write docs/nomenclature.md from the tables of the code: `python tools/nomenclature.py docs/nomenclature.md`.

Every array of a fleet, of an episode and of a policy's controls, and every field that an engine writes, is declared
once, with unit and meaning. The page lists these declarations. Only words and the symbols of the formulas are
written here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.engine.arrays import Links
from tokenfleet.envs.engine.columns.classes import ClassColumns
from tokenfleet.envs.engine.columns.models import ModelColumns
from tokenfleet.envs.engine.columns.nodes import NodeColumns
from tokenfleet.envs.engine.columns.pools import PoolPhysics, PoolShape
from tokenfleet.envs.engine.columns.sites import SiteColumns
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import AXES, EXOGENOUS, MEASUREMENTS, OUTCOMES, Field
from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import Quantity, quantities_of
from tokenfleet.envs.supervision.setpoints import Setpoints

LAW = "envs/layers/llm/iteration.py"
SYMBOLS = (
    ("B", "decoding", "sequences", "In the batch of an iteration, decoding.", LAW),
    ("C", "context", "tokens", "Of context that the decoding sequences read.", LAW),
    ("P", "prefill", "tokens", "Of prompts that an iteration computes.", LAW),
    ("A", "pairs", "pairs", "Of query and key in the attention of prefill.", LAW),
    ("F", "clock_fraction", "share", "Clock in force over the highest clock.", "envs/layers/scheduling.py"),
    ("V", "", "share", "Voltage over the highest: F, but at least `voltage_floor_fraction`.", LAW),
    ("phi(m)", "", "share", "Time at F over time at full clock, where the clock does not scale a share m.", LAW),
    ("M(core)", "", "share", "Energy of a read at V over that at full clock, where a share `core` goes with V^2.", LAW),
    ("T", "", "s", "What all layers but attention take at F, at the knots of tokens.", LAW),
)
"""Symbol, name in the code, unit, meaning, where it is defined."""
SUFFIXES = (
    ("_s", "seconds"),
    ("_ticks", "ticks of a scenario, `tick_s` each"),
    ("_w", "watts"),
    ("_j", "joules"),
    ("_c, _k", "degrees Celsius, kelvin of a difference"),
    ("_tokens", "tokens"),
    ("_rps", "requests per second"),
    ("_usd", "US dollars"),
    ("_fraction, _share", "a share, 0 to 1"),
    ("_factor, _ratio", "multiplies, or divides, another number"),
    ("<amount>_per_<unit>", "for each unit: `usd_per_output_token`, `g_per_kwh`"),
)
WORDS = (
    ("scenario", "A fleet and its demand, in one YAML file."),
    ("benchmark", "A shipped scenario that is worth learning on, by the criteria of the screen."),
    ("site", "A data centre behind one grid connection."),
    ("row", "A part of a site with a power limit of its own."),
    ("replica", "One copy of a model, on one or more boards."),
    ("pool", "The replicas of one model on one kind of GPU at one site."),
    ("class", "Requests of one kind: the model that they ask, the limits on their times, their price."),
    ("session", "Calls of an agent or a chat, most of which wait for the answer of an earlier one."),
    ("nameplate", "Power of a site with every board at its TDP and every server on, times PUE."),
    ("contract", "The power limit of a site or row outside events."),
    ("cap", "The power limit of a site or row at a moment: the contract less what events take."),
    (
        "demand response, curtailment",
        "An announced event that lowers the cap for some minutes. Emergencies are not announced.",
    ),
    ("room", "The air at the servers of a site. A room that is too warm slows the clocks of the site."),
    ("meter", "The measured power of a site or row, a mean over a tick or more. The cap is held against the meter."),
    ("brake", "Forces the clocks under a cap down after too long above the cap (10 s by default)."),
    ("breaker, trip", "A breaker that carries far too much power trips: the site is dark until it has restarted."),
    ("TTFT, TPOT", "Time to first token; time per further output token."),
    ("SLO attainment", "Share of ended requests that were answered within their limits of time (their SLO)."),
    ("goodput", "Output tokens of requests within their SLO, per second."),
    (
        "net value",
        "Revenue less penalties, electricity and what agreements about power cost. Policies are compared by it.",
    ),
    ("tick", "The clock of control, 1 s by default."),
    ("step, decision", "One call of `step`: its action holds for one tick or a few."),
    (
        "controls",
        "What a policy sets at a tick, in physical units: routing, clocks, awake replicas, admission and so on.",
    ),
    (
        "set-points",
        "What a supervisor sets every few ticks, such as a power target; an inner loop turns them into controls.",
    ),
    ("knob", "A group of set-points that a screen tunes, or holds at its default to see what the group is worth."),
    ("dial", "A gain that moves a knob with one feature of the state."),
    ("middle of the box", "The action of zeros, under which every shipped fleet runs sanely."),
    ("policy", "Anything that decides, learned or not."),
    ("rule, heuristic", "A policy that was written by hand."),
    (
        "part rule",
        "What a rule does about one control, named with the control: routing rule, clock rule, awake rule and so on.",
    ),
    ("preset", "What the name of a shipped policy or part rule stands for: a class with parameters."),
    ("published controller", "A rule from a paper or from public code, written anew here."),
    ("constants", "A policy that holds tuned set-points throughout. Whatever follows the state has to beat it."),
    ("feedback", "Set-points that follow the state linearly. In `feedback_capping`: clocks that follow the meter."),
    ("base", "A policy whose action a learned policy corrects."),
    ("careful operator", "The policy `careful_operator`, which provably stays below every cap; 0 of the score."),
    ("fork", "An exact copy of a running fleet."),
    ("planner", "A policy that compares copies of the fleet under different decisions, or solves a programme."),
    (
        "candidate",
        "One of several among which a value chooses: a policy in an evaluation, numbers in a generation of a search, "
        "decisions of a planner.",
    ),
    ("placebo", "A planner whose candidates are too small to matter. What it gains is luck."),
    (
        "train, validation, test",
        "The splits: disjoint parts of recordings and random streams. Validation chooses; test judges.",
    ),
    ("fresh episodes", "Validation episodes by which nothing was chosen."),
    ("shift", "A change of a scenario that training did not see: another load, mix or season, a failed site."),
    ("profile", "Measured times and power of a model on a kind of GPU."),
    ("roofline", "The estimate that stands in for a profile where nobody measured."),
    ("to the bit", "With no difference in any bit of any number."),
)
"""Words of the subject and of this project, and what they mean."""
PARTS: tuple[tuple[str, type[Any]], ...] = (
    ("Pools: where they stand and what they hold", PoolShape),
    ("Models of pools, and their variants: what a replica holds, time and work of an iteration", ModelColumns),
    ("Pools: power and clocks", PoolPhysics),
    ("Request classes", ClassColumns),
    ("Sites", SiteColumns),
    ("Power nodes", NodeColumns),
    ("Links", Links),
    ("Episode", Episode),
    ("Controls", Controls),
    ("Set-points", Setpoints),
)
FIELDS: tuple[tuple[str, str, Sequence[Field]], ...] = (
    ("Measurements", "What an engine measures in a tick; the first part of what a policy sees.", MEASUREMENTS),
    (
        "Exogenous",
        "What comes from outside whatever the policy does; the second part of what a policy sees.",
        EXOGENOUS,
    ),
    ("Outcomes", "What happened in a tick; reward, ledger and metrics are computed from it alone.", OUTCOMES),
)
HEAD = """# Nomenclature

The words of this project, then symbol, name, unit and meaning of every number at an interface of tokenfleet. Names
carry their unit as a suffix; what has no suffix is a count, an index or a flag. `python tools/nomenclature.py
docs/nomenclature.md` writes this page from the declarations in the code. The keys of a scenario are in
[scenario-keys.md](scenario-keys.md), the metrics of an episode in [evaluation.md](evaluation.md), the formulas in
[layers.md](layers.md).
"""


def main() -> None:
    """Write the page."""
    typed_path(__doc__, "the page to write").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    parts = [HEAD, words(), symbols(), suffixes(), axes()]
    parts += [record(title, kind) for title, kind in PARTS]
    parts += [fields(title, text, listed) for title, text, listed in FIELDS]
    return "\n".join(parts)


def words() -> str:
    """Words that pages use without explaining them again."""
    return _section("Words", "From the power connection to the comparison of policies.", ("word", "meaning"), WORDS)


def symbols() -> str:
    """The letters of the formulas."""
    rows = ((f"`{letter}`", code(name), unit, doc, f"`{file}`") for letter, name, unit, doc, file in SYMBOLS)
    text = "Those of [An iteration](layers.md#an-iteration); the other names there are those of the code."
    return _section("Symbols of the formulas", text, ("symbol", "name", "unit", "meaning", "defined in"), rows)


def suffixes() -> str:
    """What the end of a name says."""
    rows = ((", ".join(f"`{part}`" for part in ends.split(", ")), unit) for ends, unit in SUFFIXES)
    return _section("Suffixes", "", ("name ends in", "unit"), rows)


def axes() -> str:
    """What the letters of shapes stand for."""
    rows = ((f"`{letter}`", meaning) for letter, meaning in sorted(AXES.items()))
    return _section(
        "Axes", "A shape is written as letters: `[K, P]` has a row for each class.", ("axis", "one for each"), rows
    )


def record(title: str, kind: type[Any]) -> str:
    """The quantities of one record."""
    rows = (
        (f"`{q.name}`", shape(q.axis), q.unit or "-", q.doc.replace("|", "\\|"), bounds(q), q.dtype.__name__)
        for q in quantities_of(kind)
    )
    head = ("name", "shape", "unit", "meaning", "allowed", "dtype")
    return _section(title, f"`{kind.__name__}`, defined in `{source(kind)}`.", head, rows)


def fields(title: str, text: str, listed: Iterable[Field]) -> str:
    """The fields of one table."""
    rows = ((f"`{field.name}`", shape(field.axis), field.unit, field.doc) for field in listed)
    text = f"`{title.upper()}`, defined in `envs/fields.py`. {text}"
    return _section(title, text, ("name", "shape", "unit", "meaning"), rows)


def source(kind: type[Any]) -> str:
    """The file that declares a record, from the root of the repository."""
    return f"{inspect.getmodule(kind).__name__.removeprefix('tokenfleet.').replace('.', '/')}.py"  # type: ignore[union-attr]


def code(name: str) -> str:
    """As code; nothing for no name."""
    return f"`{name}`" if name else ""


def shape(axis: str) -> str:
    """`[K, P]` of `KP`; nothing for a single number."""
    return f"[{', '.join(axis)}]" if axis else "-"


def bounds(q: Quantity) -> str:
    """What the checks of both engines let through."""
    if q.index_of:
        return f"{q.low:g} to {q.index_of} - 1"
    low, high = (
        value if abs(value) < np.finfo(np.float64).max else np.inf * np.sign(value) for value in (q.low, q.high)
    )
    if np.isfinite(low) and np.isfinite(high):
        return f"{low:g} to {high:g}"
    return f">= {low:g}" if np.isfinite(low) else "any"


def _section(title: str, text: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([f"## {title}", "", *([text, ""] if text else []), markdown_table(head, rows), ""])


if __name__ == "__main__":
    main()
