"""Laws of control that the inner loop and the heuristics share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]


class ClockFeedback:
    """Proportional feedback: the clock behind a limit moves in proportion to the metered power left under a target.

    `F <- F + gain * (target - power) / slope`, within [floor, 1], where `slope` is how much the worst draw behind the
    limit rises from the clock floor to full clock, per unit of F. A gain of 1 would close the whole gap in one tick if
    the load were the worst one; a real load answers less, so the loop is slower and stable.

    C. Lefurgy, X. Wang, M. Ware, "Server-level power control", ICAC 2007, doi:10.1109/ICAC.2007.35 (such a loop on the
    clock of one server).

    Args:
        floor: the lowest clock behind every limit, `[D]`.
        range_w: how much the worst draw there rises from the floor to full clock, `[D]` [W].
        gain: share of the gap that is closed per tick under the worst load, a number or `[D]`.

    Attributes:
        floor: as given.
    """

    def __init__(self, floor: Float64Array, range_w: Float64Array, gain: float | Float64Array) -> None:
        self.floor = floor
        self._clock_per_w = gain * (1.0 - floor) / np.maximum(range_w, 1e-9)

    @classmethod
    def of_sites(cls, power: PowerModel, gain: float) -> ClockFeedback:
        """Of grid connections; D = S."""
        a = power.arrays
        floor = np.array([a.clock_floor_fraction[a.site == s].min() for s in range(a.num_sites)])
        floor_w = power.worst_site_w(a.clock_floor_fraction, a.replicas)
        return cls(floor, power.worst_site_w(np.ones(a.num_pools), a.replicas) - floor_w, gain)

    @classmethod
    def of_rows(cls, power: PowerModel, gain: float) -> ClockFeedback:
        """Of rows, D = W; the gain is divided by the ticks of the clock's latency and of the meter's window."""
        a = power.arrays
        behind = power.is_behind_row
        floor = np.array([a.clock_floor_fraction[behind[:, w]].min(initial=1.0) for w in range(a.num_rows)])
        floor_w = power.worst_row_w(a.clock_floor_fraction, a.replicas)
        range_w = power.worst_row_w(np.ones(a.num_pools), a.replicas) - floor_w
        late = np.array([a.clock_latency_ticks[behind[:, w]].max(initial=0) for w in range(a.num_rows)])
        return cls(floor, range_w, gain / (late + a.meter_window_ticks[a.num_sites :]))

    def step(self, clock: Float64Array, free_w: Float64Array) -> Float64Array:
        """The next clock behind every limit, `[N, D]`, from its clock and what is left under its target [W]."""
        after: Float64Array = np.clip(clock + self._clock_per_w * free_w, self.floor, 1.0)
        return after


class ModelWaves:
    """Moves the share of a pool that serves its variant to a wanted share, a part of the pool at a time.

    A replica that changes its model serves nobody while it loads. So no further replica changes before all loading
    replicas of the pool are awake, whatever they load for.

    Args:
        scenario: of the fleet.
        wave: share of a pool that changes at a time, one replica at the least.

    Attributes:
        pools: those with a variant, `[v]`.
    """

    fields = ("switching_replicas", "waking_replicas")

    def __init__(self, scenario: Scenario, wave: float) -> None:
        names = list(scenario.pools)
        self.pools = np.array([names.index(name) for name in scenario.variants], np.intp)
        replicas = np.array([scenario.pools[name].replicas for name in scenario.variants], np.float64)
        self._step = np.maximum(np.floor(wave * replicas), 1.0) / np.maximum(replicas, 1.0)

    def initial(self, num_envs: int) -> Float64Array:
        """Every pool with its own model, `[N, v]`."""
        return np.zeros((num_envs, len(self.pools)))

    def step(self, share: Float64Array, wanted: Float64Array, view: Record) -> Float64Array:
        """The next share of each pool, from the one before and the one that is wanted, `[N, v]` each."""
        changing = np.rint(view["switching_replicas"] + view["waking_replicas"][:, self.pools]) > 0.0
        return np.where(changing, share, share + np.clip(wanted - share, -self._step, self._step))
