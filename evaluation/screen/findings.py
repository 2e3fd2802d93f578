"""Numbers with intervals from what a screen has measured; every difference is paired, episode by episode."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap

Float64Array = NDArray[np.float64]
Outcomes = Mapping[str, Mapping[str, Float64Array]]
"""Metrics `[E]` by policy and name, all of the same episodes."""

IDENTICAL = 1e-6
"""Mean absolute difference of two rules, over the best rule's value, up to which they act identically."""
CLOSE = 0.02
"""Share of the best value within which an absurd plan is an optimum."""
GIVEN_UP = 0.1
"""Share of a class's requests in time below which the class counts as given up."""
ABOVE = 0.5
"""Share of an episode above a cap from which a fleet counts as standing there throughout."""
ABOVE_CAP = "power stands above the cap"


def against(ours: Float64Array, theirs: Float64Array) -> dict[str, float]:
    """The mean paired difference with its 95 % interval [USD]."""
    return _plain(PairedBootstrap(len(ours)).difference(ours, theirs))


def gain(ours: Float64Array, theirs: Float64Array, span_usd: float) -> dict[str, float]:
    """As `against`, and the same as shares of a span [USD] that is taken as known."""
    difference = against(ours, theirs)
    names = {"estimate": "of_span", "low": "low_of_span", "high": "high_of_span"}
    shares = {name: difference[key] / span_usd if span_usd > 0.0 else float("nan") for key, name in names.items()}
    return difference | shares


def mean_of(values: Float64Array) -> dict[str, float]:
    """A mean with its 95 % interval."""
    return _plain(PairedBootstrap(len(values)).mean(values))


def alike(rules: Outcomes) -> list[list[str]]:
    """Pairs of rules that act identically: on average over the episodes their values differ by `IDENTICAL` at most."""
    best = max(abs(float(rule[VALUE].mean())) for rule in rules.values())
    return [
        [one, other]
        for one, other in combinations(rules, 2)
        if np.abs(rules[one][VALUE] - rules[other][VALUE]).mean() <= IDENTICAL * best
    ]


def best_of(policies: Outcomes) -> str:
    """The name of the policy with the highest mean value."""
    return max(policies, key=lambda name: float(policies[name][VALUE].mean()))


def kept(outcome: Mapping[str, Float64Array], offered_usd: float) -> dict[str, float]:
    """How much of what is asked for a policy serves in time, and how much of the offered value it earns."""
    return {
        "slo_attainment": float(outcome["slo_attainment"].mean()),
        "value_over_offered": float(outcome[VALUE].mean()) / offered_usd if offered_usd > 0.0 else float("nan"),
    }


def lost(best: Float64Array, without: Outcomes) -> dict[str, dict[str, float]]:
    """What is lost without something [USD], and as a share of the best value, the most important first."""
    mean = abs(float(best.mean()))
    found = {name: against(best, outcome[VALUE]) for name, outcome in without.items()}
    shares = {name: loss | {"share": loss["estimate"] / mean} for name, loss in found.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]["estimate"]))


def absurd_optima(
    best: Float64Array, probes: Outcomes, horizon_s: float, metrics_of_best: Mapping[str, Float64Array]
) -> list[str]:
    """Absurd plans within 2 % of the best, and what is absurd about the best plan itself.

    A plan meant to give up a class, or to stand above the cap, counts only where its metrics show so.
    """
    least = float(best.mean()) - CLOSE * abs(float(best.mean()))
    found = [
        f"{name}: {outcome[VALUE].mean():.3g} USD"
        for name, outcome in probes.items()
        if outcome[VALUE].mean() >= least and _habits(outcome, horizon_s).get(name, True)
    ]
    habits = _habits(metrics_of_best, horizon_s)
    return found + [f"the best plan: {name}" for name, has_it in habits.items() if has_it]


def given_up(request_class: str) -> str:
    """The name of the habit of serving a class hardly at all."""
    return f"{request_class} is given up"


def _habits(outcome: Mapping[str, Float64Array], horizon_s: float) -> dict[str, bool]:
    """By name, what metrics can tell of a plan's habits, and whether they do."""
    by_class = {
        given_up(name.partition("/")[2]): bool(np.nanmean(values) < GIVEN_UP)
        for name, values in outcome.items()
        if name.startswith("slo_attainment/")
    }
    return by_class | {ABOVE_CAP: bool(outcome["above_cap_s"].mean() > ABOVE * horizon_s)}


def _plain(interval: Interval) -> dict[str, float]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
