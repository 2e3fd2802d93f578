"""Clock rules without a meter: full clocks, the rule of thumb, and the clock that provably keeps the cap."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.clock_limits import CLOCK_STEPS, ROUNDING, RowClock, pool_clocks, replicas_that_fit
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array, Int64Array


class FullClock(Clocking):
    """Every GPU at its highest clock, whatever the cap: what a fleet without power management does."""

    def __init__(self, scenario: Scenario) -> None:
        self._pools = len(scenario.pools)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        return np.ones((len(view.rows), self._pools)), state


class ProportionalClock(Clocking):
    """The clock is the cap's share of the site's nameplate power: a cap of 70 % means a clock of 70 %.

    The rule of thumb of an operator without a power model: open loop and blind to load. Server and static board power
    do not fall with the clock, so full load still breaks a low cap.
    """

    fields = ("cap_w",)

    def __init__(self, scenario: Scenario) -> None:
        self._power = PowerModel(scenario)
        self._nameplate_w = np.array([scenario.nameplate_w(site) for site in scenario.sites])

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        return pool_clocks(self._power, view["cap_w"] / self._nameplate_w), state


class UniformClock(Clocking):
    """One clock for a whole site, the highest at which it provably stays under its cap.

    The proof, by induction over ticks. (1) At a clock F no site draws more than `PowerModel.worst_site_w`, under any
    requests, and this bound never falls with F. (2) A clock acts from the next iteration boundary on, and an iteration
    lasts no longer than `longest_iteration_s`; so this tick's clock stays in force at most for the latency of its pool
    and `ceil(longest_iteration_s / tick_s)` further ticks. (3) `CapForecast` bounds the caps of those ticks from below.
    The rule takes the highest clock whose worst draw is no more than that bound; hence, once its first clock is in
    force, every clock in force fits the cap of its tick.

    Where even the clock floor does not fit the deepest cap that the scenario can announce, some replicas sleep from
    the first tick on (`replicas_that_fit`). Sending them to sleep later would prove nothing: a replica goes on drawing
    until it has finished its requests, and nobody knows when that is.

    Rows are kept below their caps in the same way (`RowClock`); a pool runs at the lowest clock that its site and row
    allow.

    Raises:
        SpecError: a site breaks its deepest cap with every replica asleep, so that no policy could keep the cap.
    """

    fields = ("cap_w", "announced_cap_w", "row_cap_w", "announced_row_cap_w")

    def __init__(self, scenario: Scenario) -> None:
        self._power = PowerModel(scenario)
        a = self._power.arrays
        carry_ticks = np.ceil(self._power.longest_iteration_s() / a.tick_s) + a.clock_latency_ticks
        carry_s = np.asarray(a.tick_s * carry_ticks, dtype=np.float64)
        ahead_s = np.array([carry_s[a.site == s].max() for s in range(a.num_sites)])
        self._forecast = CapForecast.of_sites(scenario, ahead_s)
        self._grid = np.linspace(a.clock_floor_fraction.min(), 1.0, CLOCK_STEPS)
        self.most_replicas = replicas_that_fit(scenario, self._power, self._forecast.deepest_w)
        self._worst_w = self._worst_site_w(self.most_replicas)
        self._row_clock = RowClock(scenario, self._power, self.most_replicas, carry_s)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        limit_w = self._forecast.lowest_w(view["cap_w"], view["announced_cap_w"]) * (1.0 - ROUNDING)
        fitting = [np.searchsorted(self._worst_w[:, s], limit_w[:, s], side="right") for s in range(limit_w.shape[1])]
        step = np.maximum(np.stack(fitting, axis=1) - 1, 0)
        return self._row_clock.limit(pool_clocks(self._power, self._grid[step]), view), state

    def _worst_site_w(self, awake: Int64Array) -> Float64Array:
        """Worst draw of every site at every clock of the grid, `[CLOCK_STEPS, S]`, non-decreasing in the clock [W]."""
        clock = np.maximum(self._grid[:, None], self._power.arrays.clock_floor_fraction)
        return self._power.worst_site_w(clock, awake)
