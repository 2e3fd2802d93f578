"""Laws of control that the inner loop and the heuristics share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.power_model import PowerModel

Float64Array = NDArray[np.float64]


class ClockFeedback:
    """Proportional feedback: the clock of a site moves by what its meter says is left under a target.

    `F <- F + gain * (target - power) / slope`, within [floor, 1], where `slope` is how much the worst draw of the site
    rises from the clock floor to full clock, per unit of F. A gain of 1 would close the whole gap in one tick if the
    load were the worst one; a real load answers less, so the loop is slower and stable.

    C. Lefurgy, X. Wang, M. Ware, "Server-level power control", ICAC 2007, doi:10.1109/ICAC.2007.35 (such a loop on the
    clock of one server).

    Args:
        power: the physics of the fleet.
        gain: share of the gap that is closed per tick under the worst load.

    Attributes:
        floor: the lowest clock of every site, `[S]`.
    """

    def __init__(self, power: PowerModel, gain: float) -> None:
        a = power.arrays
        self.floor = np.array([a.clock_floor_fraction[a.site == s].min() for s in range(a.num_sites)])
        floor_w = power.worst_site_w(a.clock_floor_fraction, a.replicas)
        range_w = power.worst_site_w(np.ones(a.num_pools), a.replicas) - floor_w
        self._clock_per_w = gain * (1.0 - self.floor) / np.maximum(range_w, 1e-9)

    def step(self, clock: Float64Array, free_w: Float64Array) -> Float64Array:
        """The next clock of every site, `[N, S]`, from its clock and what is left under its target [W]."""
        after: Float64Array = np.clip(clock + self._clock_per_w * free_w, self.floor, 1.0)
        return after
