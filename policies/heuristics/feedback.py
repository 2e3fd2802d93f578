"""Clock rules that follow the meters."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from tokenfleet.envs.estimates.backlog import BACKLOG_FIELDS, backlog_seconds
from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.clock_limits import pool_clocks
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, UnitFraction
from tokenfleet.envs.supervision.laws import ClockFeedback
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import BoolArray, Clocking, Float64Array

Margin = Annotated[float, Field(ge=0, lt=1)]


class FeedbackClock(Clocking):
    """Proportional feedback: the clocks behind a limit move by the power that its meter leaves.

    The law is `supervision.laws.ClockFeedback`, for sites and for rows; a pool runs at the lower of the two clocks. The
    target is `1 - margin` of the lowest cap that can come in the next `ahead_s`, so that the clock is down when the cap
    is. The rule knows only the meter: a burst breaks the cap for some ticks, which the brake's delay forgives. While a
    brake holds clocks down, the meter does not show what the requested clocks would draw, so they do not rise.

    The brake's delay can be spent on purpose: while a site's backlog is longer than `waiting_s` and no more than
    `brake_share` of the delay is used, the target is what the breaker carries indefinitely.

    Args:
        scenario: of the fleet.
        gain: share of the gap that is closed per tick under the worst load.
        margin: share of the cap that is left free.
        ahead_s: how far ahead a falling cap is followed [s].
        brake_share: share of the brake's delay that may be spent; 0 for none.
        waiting_s: backlog above which the delay is spent [s].
    """

    fields: ClassVar[tuple[str, ...]] = (
        *BACKLOG_FIELDS,
        "cap_w",
        "announced_cap_w",
        "site_power_w",
        "braked",
        "brake_timer_s",
        "row_cap_w",
        "announced_row_cap_w",
        "row_power_over_cap",
        "row_braked",
    )

    def __init__(
        self,
        scenario: Scenario,
        gain: PositiveFloat = 0.5,
        margin: Margin = 0.04,
        ahead_s: NonNegativeFloat = 2.0,
        brake_share: UnitFraction = 0.0,
        waiting_s: PositiveFloat = 1.0,
    ) -> None:
        self._service = ServiceModel(scenario)
        self._power = self._service.power
        a = self._power.arrays
        self._sites = CapForecast.of_sites(scenario, np.full(a.num_sites, ahead_s))
        self._rows = CapForecast.of_rows(scenario, np.full(a.num_rows, ahead_s))
        self._site_law = ClockFeedback.of_sites(self._power, gain)
        self._row_law = ClockFeedback.of_rows(self._power, gain)
        self._floor, self._margin = self._site_law.floor, margin
        self._brake_share, self._waiting_s = brake_share, waiting_s
        self._delay_s = np.array([site.grid.brake.delay_s for site in scenario.sites.values()])
        self._overload = np.array([site.grid.breaker.pickup_ratio for site in scenario.sites.values()])
        takes_requests = scenario.route_mask.any(axis=0)
        self._at_site = [np.flatnonzero((a.site == s) & takes_requests) for s in range(a.num_sites)]

    def initial_state(self, num_envs: int) -> State:
        """The clocks of every site, `[N, S]`, and row, `[N, W]`, all full."""
        return (np.ones((num_envs, len(self._floor))), np.ones((num_envs, len(self._row_law.floor))))

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        site_clock, row_clock = state
        target_w = (1.0 - self._margin) * self._sites.lowest_w(view["cap_w"], view["announced_cap_w"])
        if self._brake_share > 0.0:
            target_w = np.where(self._spends(view), np.maximum(target_w, self._overload * view["cap_w"]), target_w)
        site_clock = self._follow(self._site_law, site_clock, target_w - view["site_power_w"], view["braked"])
        row_target_w = (1.0 - self._margin) * self._rows.lowest_w(view["row_cap_w"], view["announced_row_cap_w"])
        row_w = view["row_power_over_cap"] * view["row_cap_w"]
        row_clock = self._follow(self._row_law, row_clock, row_target_w - row_w, view["row_braked"])
        clock = pool_clocks(self._power, site_clock)
        for w, behind in enumerate(self._power.is_behind_row.T):
            clock = np.where(behind, np.minimum(clock, row_clock[:, w : w + 1]), clock)
        return np.maximum(clock, self._power.arrays.clock_floor_fraction), (site_clock, row_clock)

    def _follow(
        self, law: ClockFeedback, clock: Float64Array, free_w: Float64Array, braked: Float64Array
    ) -> Float64Array:
        return law.step(clock, np.where(braked > 0.0, np.minimum(free_w, 0.0), free_w))

    def _spends(self, view: Record) -> BoolArray:
        """Whether each site may stand above its cap, `[N, S]`."""
        backlog_s = backlog_seconds(self._service, view)
        longest_s = [backlog_s[:, pools].max(axis=1, initial=0.0) for pools in self._at_site]
        spent_s = view["brake_timer_s"] + self._power.arrays.tick_s
        may: BoolArray = spent_s <= self._brake_share * self._delay_s
        return may & (np.stack(longest_s, axis=1) > self._waiting_s)


class ThermalClock(FeedbackClock):
    """`FeedbackClock`, but slower the nearer a room comes to its limit, before the room itself slows the clocks.

    From `band_k` below the limit up to the limit the highest clock falls in a straight line to the floor. Where the
    load allows, the room settles inside the band, and requests move to pools with higher clocks, because a backlog
    counts the clock. At a site without a room only the feedback acts.

    Args:
        scenario: of the fleet.
        gain: see `FeedbackClock`.
        margin: likewise.
        ahead_s: likewise.
        band_k: how far below the limit the clocks begin to fall [K].
        brake_share: see `FeedbackClock`.
        waiting_s: likewise.
    """

    fields = (*FeedbackClock.fields, "room_c")

    def __init__(
        self,
        scenario: Scenario,
        gain: PositiveFloat = 0.5,
        margin: Margin = 0.04,
        ahead_s: NonNegativeFloat = 2.0,
        band_k: PositiveFloat = 1.0,
        brake_share: UnitFraction = 0.0,
        waiting_s: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(scenario, gain, margin, ahead_s, brake_share, waiting_s)
        self._in_rooms = np.flatnonzero(self._power.arrays.room >= 0)
        self._limit_c = self._power.arrays.room_limit_c[self._in_rooms]
        self._band_k = band_k

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        clock, state = super().clocks(view, state)
        highest = np.ones((len(view.rows), len(self._floor)))
        share = np.clip((self._limit_c - view["room_c"]) / self._band_k, 0.0, 1.0)
        floor = self._floor[self._in_rooms]
        highest[:, self._in_rooms] = floor + (1.0 - floor) * share
        return np.minimum(clock, pool_clocks(self._power, highest)), state
