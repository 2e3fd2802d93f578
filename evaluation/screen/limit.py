"""A limit on seconds above a cap, for a search that knows nothing but which of its candidates is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.screen.findings import VALUE
from tokenfleet.evaluation.screen.plans import Plans, stacked
from tokenfleet.evaluation.screen.rollouts import Setting, Workers, outcomes

Float64Array = NDArray[np.float64]
SECONDS = "above_cap_s"
BEYOND = 1e6
"""How far every plan beyond the limit is below every plan within it; more than any net value [USD]."""


@dataclass(frozen=True)
class Limit:
    """Plans may stand above a cap so many seconds more an episode than constants do in the same episodes.

    The comparison in the same episodes takes the chance of the episodes out: a generation meets few of them.

    Attributes:
        constants: one plan without gains.
        more_s: mean seconds beyond those of the constants; may be negative [s].
    """

    constants: Plans
    more_s: float

    def merits(self, setting: Setting, plans: Plans, workers: Workers) -> Float64Array:
        """What plans are ranked by: net value within the limit [USD], seconds beyond it where they are not.

        Deb, "An efficient constraint handling method for genetic algorithms", 2000: whoever keeps the limit is better
        than whoever does not; of those who do not, whoever is nearer to it.
        """
        done = outcomes(setting, stacked([plans, self.constants]), workers)
        seconds = done[SECONDS].mean(axis=1)
        beyond_s = seconds[:-1] - seconds[-1] - self.more_s
        values: Float64Array = done[VALUE].mean(axis=1)[:-1]
        return np.where(beyond_s <= 0.0, values, -BEYOND - beyond_s)
