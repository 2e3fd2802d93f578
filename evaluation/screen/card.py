"""The findings of a screen as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.envs.spec import counted

EVEN = 0.03
"""Largest difference of a split's offered value from the mean over splits, relative, that counts as even."""


def card_text(card: Mapping[str, Any]) -> str:
    """A card for people, one finding a paragraph."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    budget, best = card["budget"], card["kept"]
    failed = [name for name, criterion in card["criteria"].items() if not criterion["passed"]]
    yield f"{card['scenario']}: {'fails ' + ', '.join(failed) if failed else 'passes'}"
    yield ""
    for name, criterion in card["criteria"].items():
        yield f"{'pass' if criterion['passed'] else 'FAIL'}  {name:18} {criterion['measured']}"
    yield ""
    yield f"values [USD an episode], {counted(budget['episodes'], 'validation episode')}, span {card['span_usd']:.3f}"
    for name, value in sorted(card["values"].items(), key=lambda item: -item[1]["estimate"]):
        yield f"  {name:30} {value['estimate']:9.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    for name, why in card["refused"].items():
        yield f"  {name:30} refused: {why}"
    for name, gain in card["planner"].items():
        yield f"{name:11} {_difference(gain)} over tuned constants"
    yield (
        f"kept        by {card['best_known']}: {100 * best['slo_attainment']:.1f} % of requests in time, "
        f"{100 * best['value_over_offered']:.0f} % of the offered value"
    )
    yield f"knobs       lost where held at their default, of {card['knobs_of']}:"
    for name, lost in card["knobs"].items():
        yield f"  {name:30} {_difference(lost)} ({100 * lost['share']:+.1f} % of the best)"
    yield "features    lost where the feedback does not follow them:"
    for name, lost in card["features"].items():
        yield f"  {name:30} {_difference(lost)} ({100 * lost['share']:+.1f} % of the best)"
    load = ", ".join(f"{split} {100 * row['value_usd']:+.1f} %" for split, row in card["offered"].items())
    uneven = any(abs(row["value_usd"]) > EVEN for row in card["offered"].values())
    yield f"offered     value against the mean of splits: {load}{' (uneven)' if uneven else ''}"
    yield f"speed       {card['speed']['ticks_per_s']:,.0f} ticks a second and process"
    done = ", ".join(f"{stage} {count}" for stage, count in budget["done"].items())
    yield f"budget      {card['elapsed_s'] / 60:.1f} min; generations: {done}"


def _difference(difference: Mapping[str, float]) -> str:
    return f"{difference['estimate']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}] USD"
