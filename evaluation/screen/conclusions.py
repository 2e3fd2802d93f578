"""Conclusions from the measurements of a screen: gains, losses and shares, by the names that its card gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.offered import QUANTITIES, differences
from tokenfleet.evaluation.screen import findings
from tokenfleet.evaluation.screen.probes import ON_FEATURE
from tokenfleet.evaluation.screen.rollouts import Outcome

Float64Array = NDArray[np.float64]

CAREFUL = "careful_operator"
"""The provable clock with capacity-weighted routing."""
MIDDLE, BY_CAP = "middle of the set-points", "awake in proportion to the cap"
"""Plans that are untuned rules like the shipped ones."""
CONSTANTS, FEEDBACK = "tuned constants", "tuned feedback"


@dataclass(frozen=True)
class Measured:
    """Measurements of a screen in the episodes behind findings.

    Attributes:
        rules: results of shipped rules, by name.
        refused: why some cannot act, by name.
        reported: results of tuned plans, untuned ones and probes, by name.
        best: the name of the better one of the tuned plans.
        load: what is asked for, by split, a row an episode and a column for each of `offered.QUANTITIES`.
    """

    rules: Mapping[str, Outcome]
    refused: Mapping[str, str]
    reported: Mapping[str, Outcome]
    best: str
    load: Mapping[str, Float64Array]


def conclusions(measured: Measured, horizon_s: float) -> dict[str, Any]:
    """The findings, by the names that the card gives them; `horizon_s` is the length of an episode [s]."""
    untuned = {**measured.rules, **{name: measured.reported[name] for name in (MIDDLE, BY_CAP)}}
    everyone = {**untuned, **{name: measured.reported[name] for name in (CONSTANTS, FEEDBACK)}}
    best_rule = findings.best_of(untuned)
    best_known = findings.best_of({name: everyone[name] for name in (best_rule, measured.best)})
    usd = {name: outcome[VALUE] for name, outcome in everyone.items()}
    span_usd = float(usd[best_known].mean() - usd[CAREFUL].mean())
    aside, _ = differences(measured.load)
    offered_usd = float(measured.load["validation"][:, QUANTITIES.index("value_usd")].mean())
    without = findings.lost(measured.reported[measured.best][VALUE], _under("frozen/", measured.reported))
    probes = _under("absurd/", measured.reported)
    if measured.best != CONSTANTS:
        probes["a constant action"] = measured.reported[CONSTANTS]
    return {
        "values": {name: findings.mean_of(values) for name, values in usd.items()},
        "best_rule": best_rule,
        "best_known": best_known,
        "span_usd": span_usd,
        "refused": dict(measured.refused),
        "headroom": findings.gain(usd[best_known], usd[best_rule], span_usd),
        "state": findings.gain(usd[FEEDBACK], usd[CONSTANTS], span_usd),
        "untuned": findings.kept(untuned[best_rule], offered_usd),
        "kept": findings.kept(everyone[best_known], offered_usd),
        "knobs_of": measured.best,
        "knobs": {name: loss for name, loss in without.items() if not name.startswith(ON_FEATURE)},
        "features": {
            name.removeprefix(ON_FEATURE): loss for name, loss in without.items() if name.startswith(ON_FEATURE)
        },
        "absurd": findings.absurd_optima(
            measured.reported[measured.best][VALUE], probes, horizon_s, measured.reported[measured.best]
        ),
        "alike": findings.alike(measured.rules),
        "offered": {
            split: dict(zip(QUANTITIES, row, strict=True))
            for split, row in zip(measured.load, aside.tolist(), strict=True)
        },
    }


def _under(prefix: str, reported: Mapping[str, Outcome]) -> dict[str, Outcome]:
    return {name.removeprefix(prefix): outcome for name, outcome in reported.items() if name.startswith(prefix)}
