"""The findings of a screen as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WORTH_PERCENT = 5.0
"""Gain from which headroom, or the state, is worth learning for [%]."""
EVEN = 0.03
"""Difference of a split's offered value from the mean over splits that is nothing to speak of."""


def card_text(card: Mapping[str, Any]) -> str:
    """A card for people, one finding a paragraph."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    budget, saturation = card["budget"], card["saturation"]
    yield f"{card['scenario']}: {_verdict(card)}"
    yield ""
    yield f"values [USD an episode], {budget['episodes']} validation episodes"
    for name, value in sorted(card["values"].items(), key=lambda item: -item[1]["estimate"]):
        yield f"  {name:26} {value['estimate']:9.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    for name, why in card["refused"].items():
        yield f"  {name:26} refused: {why}"
    yield f"headroom    {_difference(card['headroom'])}: {card['best_known']} over {card['best_rule']}"
    after = f"{budget['done']['feedback']} and {budget['done']['constants further']} more generations"
    yield f"state       {_difference(card['state'])}: feedback over constants, after {after}"
    for name, gain in card["planner"].items():
        yield f"{name:11} {_difference(gain)}: over tuned constants"
    yield (
        f"saturation  {100 * saturation['slo_attainment']:.1f} % of requests in time, value "
        f"{100 * saturation['value_over_offered']:.0f} % of what is offered"
    )
    yield f"knobs       lost where held at their default, of {card['knobs_of']}:"
    for name, lost in card["knobs"].items():
        yield f"  {name:26} {_difference(lost)}"
    yield f"absurd      {'; '.join(card['absurd']) or 'no optimum is'}"
    pairs = ", ".join(" = ".join(pair) for pair in card["alike"])
    yield f"alike       {pairs or 'no two rules'}"
    load = ", ".join(f"{split} {100 * row['value_usd']:+.1f} %" for split, row in card["offered"].items())
    uneven = any(abs(row["value_usd"]) > EVEN for row in card["offered"].values())
    yield f"offered     value against the mean of splits: {load}{' (uneven)' if uneven else ''}"
    yield f"speed       {card['speed']['ticks_per_s']:,.0f} ticks a second and process"
    done = ", ".join(f"{stage} {count}" for stage, count in budget["done"].items())
    yield f"budget      {card['elapsed_s'] / 60:.1f} min; generations: {done}"


def _verdict(card: Mapping[str, Any]) -> str:
    words = []
    words.append("headroom" if _clear(card["headroom"]) else "little headroom")
    words.append("state matters" if _clear(card["state"]) else "state not shown to matter")
    if card["saturation"]["saturated"]:
        words.append("saturated")
    if card["absurd"]:
        words.append("absurd optima")
    return ", ".join(words)


def _clear(difference: Mapping[str, float]) -> bool:
    return difference["percent"] >= WORTH_PERCENT and difference["low"] > 0.0


def _difference(difference: Mapping[str, float]) -> str:
    interval = f"[{difference['low']:+.3f}, {difference['high']:+.3f}]"
    return f"{difference['estimate']:+.3f} {interval} USD ({difference['percent']:+.1f} %)"
