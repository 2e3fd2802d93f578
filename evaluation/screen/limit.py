"""A limit on seconds above a cap, for a search that only ranks its candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.evaluation.screen.plans import Plans, stacked
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, outcomes

Float64Array = NDArray[np.float64]
BEYOND = 1e6
"""How far every plan beyond the limit is below every plan within it, where one is chosen [USD]."""
FIRST_SHARE, DEARER = 0.25, 1.3
"""Price of a second beyond the limit in the first generation, as a share of the one at which seconds weigh as much as
value, and how much dearer each generation makes it. Ours: at a share of 1 searches on `default` stayed far below the
limit, for chance alone puts few episodes beyond it.
"""
TOLERANCE, TOLERANCE_S = 0.05, 1.0
"""Share of a limit, and seconds, by which a mean may be beyond it: dozens of episodes tell no smaller difference."""


@dataclass(frozen=True)
class SecondsLimit:
    """Plans may stand above a cap so many seconds more an episode than constants do in the same episodes.

    The comparison in the same episodes takes the chance of the episodes out: a generation meets few of them.

    Attributes:
        constants: one plan without gains.
        more_s: mean seconds beyond those of the constants; may be negative [s].
    """

    constants: Plans
    more_s: float

    def measured(self, setting: RolloutSetting, plans: Plans, workers: Workers) -> tuple[Float64Array, Float64Array]:
        """Mean net value of plans [USD], and their mean seconds beyond the limit, 0 within it, `[B]` each."""
        done = outcomes(setting, stacked([plans, self.constants]), workers)
        seconds = done[SECONDS].mean(axis=1)
        beyond_s: Float64Array = np.maximum(seconds[:-1] - seconds[-1] - self.more_s, 0.0)
        return done[VALUE].mean(axis=1)[:-1], beyond_s


def price_per_s(values_usd: Float64Array, beyond_s: Float64Array) -> float:
    """Price of a second beyond a limit in the first generation, from plans that differ by a little [USD/s]."""
    return FIRST_SHARE * float(values_usd.std() / beyond_s.std()) if beyond_s.std() > 0.0 else 0.0


def penalised(values_usd: Float64Array, beyond_s: Float64Array, price: float, generation: int) -> Float64Array:
    """Merits in a generation of a search, `[B]` [USD]: seconds beyond the limit have a price that grows.

    The penalty method (Fiacco and McCormick, "Nonlinear Programming: Sequential Unconstrained Minimization
    Techniques", 1968): early generations may cross what late ones may not.
    """
    return values_usd - price * DEARER**generation * beyond_s


def ranked(values_usd: Float64Array, beyond_s: Float64Array) -> Float64Array:
    """Merits for a choice, `[B]`: any plan within the limit is better than one beyond, and of these the nearer one.

    Deb, "An efficient constraint handling method for genetic algorithms", 2000.
    """
    return np.where(beyond_s > 0.0, -BEYOND - beyond_s, values_usd)


def tolerated_s(limit_s: float) -> float:
    """Mean time above a cap that counts as within a limit [s]."""
    return limit_s + max(TOLERANCE * limit_s, TOLERANCE_S)
