"""Clocks and replicas that fit their caps at worst."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

CLOCK_STEPS = 241
"""Clocks that are tried from the lowest floor to 1: a quarter of a per cent apart where the floor is 0.4."""

ROUNDING = 1e-5
"""Share of a cap that is left unused.

Scaling and float32 show an observed cap up to 9e-8 of it too high (measured), and `ControlPolicy.predict` rounds
clocks to float32 too. A draw above the true cap by ever so little counts as a whole tick above the cap.
"""


def replicas_that_fit(scenario: Scenario, power: PowerModel, cap_w: Float64Array) -> Int64Array:
    """How many replicas of each pool may be awake for every cap to be kept at the clock floor at worst, `[P]`.

    Where not all fit, replicas are left out one by one from the pool with the largest share still awake. The last
    replica of a pool is left out only when all pools behind the same limit are down to one.

    Args:
        scenario: of the fleet.
        power: its physics.
        cap_w: the cap that each site must be able to keep, `[S]` [W].

    Raises:
        SpecError: a site or row does not fit with every replica asleep; no policy could keep its cap.
    """
    deepest_row_w = CapForecast.of_rows(scenario, np.zeros(len(scenario.rows))).deepest_w
    limit_w = np.concatenate([cap_w, deepest_row_w])
    awake, at_fault = _fit(power, limit_w)
    if at_fault is not None:
        names = [f"site {site!r}" for site in scenario.sites] + [f"row {row!r} of {at!r}" for at, row in scenario.rows]
        limit = limit_w[at_fault] * (1.0 - ROUNDING)
        raise SpecError(
            [
                f"clocking: {names[at_fault]} draws more than its deepest cap, {limit:.0f} W, even "
                "with every replica asleep, and no policy could keep it; raise the cap"
            ]
        )
    return awake


def usual_replicas(scenario: Scenario) -> Int64Array:
    """How many replicas of each pool fit the contracts, `[P]`: an operator keeps as many awake without any event.

    Where a contract cannot be kept even with every replica asleep, sleep gains nothing, and all are awake.
    """
    power = PowerModel(scenario)
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites], np.float64)
    row_w = np.array([scenario.row_cap_w(*key) for key in scenario.rows], np.float64)
    awake, at_fault = _fit(power, np.concatenate([contract_w, row_w]))
    return awake if at_fault is None else power.arrays.replicas


def _fit(power: PowerModel, limit_w: Float64Array) -> tuple[Int64Array, int | None]:
    """Replicas with which sites and rows keep their limits [W], and the index of a limit broken with none awake."""
    a = power.arrays
    awake = a.replicas.copy()
    members = [*(a.site == s for s in range(a.num_sites)), *power.is_behind_row.T]
    while True:
        worst_w = [power.worst_site_w(a.clock_floor_fraction, awake), power.worst_row_w(a.clock_floor_fraction, awake)]
        over = np.concatenate(worst_w) > limit_w * (1.0 - ROUNDING)
        if not over.any():
            return awake, None
        at_fault = int(np.argmax(over))
        removable = members[at_fault] & (awake > 0)
        if not removable.any():
            return awake, at_fault
        awake[np.argmax(np.where(removable, awake / a.replicas + (awake > 1), 0.0))] -= 1


class RowClock:
    """The highest clock at which every row keeps its cap at worst.

    Args:
        scenario: of the fleet.
        power: its physics.
        awake: replicas of each pool that may be awake, `[P]`.
        carry_s: how long a clock of each pool may be in force after its tick, `[P]` [s].
    """

    def __init__(self, scenario: Scenario, power: PowerModel, awake: Int64Array, carry_s: Float64Array) -> None:
        a = power.arrays
        ahead_s = np.array([carry_s[behind].max() for behind in power.is_behind_row.T], dtype=np.float64)
        self._forecast = CapForecast.of_rows(scenario, ahead_s)
        self._is_behind = power.is_behind_row
        self._floor = a.clock_floor_fraction
        self._grid = np.linspace(self._floor.min(), 1.0, CLOCK_STEPS)
        self._worst_w = power.worst_row_w(np.maximum(self._grid[:, None], self._floor), awake)

    def limit(self, clock: Float64Array, view: Record) -> Float64Array:
        """Clocks `[N, P]` lowered to what the rows above each pool allow."""
        limit_w = self._forecast.lowest_w(view["row_cap_w"], view["announced_row_cap_w"]) * (1.0 - ROUNDING)
        for w in range(limit_w.shape[1]):
            step = np.searchsorted(self._worst_w[:, w], limit_w[:, w], side="right")
            allowed = np.maximum(self._grid[np.maximum(step - 1, 0)][:, None], self._floor)
            clock = np.where(self._is_behind[:, w], np.minimum(clock, allowed), clock)
        return clock


def pool_clocks(power: PowerModel, site_clock: Float64Array) -> Float64Array:
    """A clock for every pool from one for every site, `[N, S]` to `[N, P]`, within what each GPU can do."""
    return np.clip(site_clock[:, power.arrays.site], power.arrays.clock_floor_fraction, 1.0)
