"""What makes a scenario a benchmark, criterion by criterion, from the numbers of a card.

Gains are shares of the *span* from the careful operator to the best known; knobs and absurd optima are measured against
the value of the better tuned plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADROOM = 0.08
"""Gain of the best known over the best untuned rule, over the span."""
STATE = 0.05
"""Gain of feedback over constants, over the span."""
SATURATED = 0.97
"""Share of requests in time and of the offered value from which on a rule leaves nothing."""
KNOBS, KNOB_LOSS = 4, 0.01
"""How many knobs must matter, and the share of the better tuned plan's value that a knob's default then costs."""


def criteria(card: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By criterion, whether the scenario passes and what was measured, for people."""
    rule = card["untuned"]
    mattering = [name for name, lost in card["knobs"].items() if lost["share"] >= KNOB_LOSS and lost["low"] > 0.0]
    alike = ", ".join(" = ".join(pair) for pair in card["alike"])
    return {
        "headroom": _gain(card["headroom"], HEADROOM, f"{card['best_known']} over {card['best_rule']}"),
        "state matters": _gain(card["state"], STATE, "feedback over constants"),
        "not saturated": {
            "passed": rule["slo_attainment"] < SATURATED or rule["value_over_offered"] < SATURATED,
            "measured": f"{card['best_rule']}: {100 * rule['slo_attainment']:.1f} % of requests in time, "
            f"{100 * rule['value_over_offered']:.0f} % of the offered value",
        },
        "knobs matter": {"passed": len(mattering) >= KNOBS, "measured": ", ".join(mattering) or "none"},
        "no absurd optimum": {"passed": not card["absurd"], "measured": "; ".join(card["absurd"]) or "none"},
        "rules differ": {"passed": not card["alike"], "measured": alike or "no two act identically"},
    }


def _gain(difference: Mapping[str, float], least: float, what: str) -> dict[str, Any]:
    share, low, high = (100.0 * difference[key] for key in ("of_span", "low_of_span", "high_of_span"))
    return {
        "passed": share >= 100.0 * least and low > 0.0,
        "measured": f"{what}: {share:+.1f} % [{low:+.1f}, {high:+.1f}] of the span",
    }
