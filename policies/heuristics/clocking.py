"""Clock rules: how fast the GPUs of a site run, given its cap.

A rule answers with clocks `[N, P]`, and may bound how many replicas are ever awake. All but `FullClock` read the cap;
what differs is what they know besides it: nothing (`ProportionalClock`), the physics (`UniformClock`), the meter
(`FeedbackClock`), the meter and the room (`ThermalClock`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.clock_limits import CLOCK_STEPS, ROUNDING, RowClock, pool_clocks, replicas_that_fit
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.fields import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.envs.supervision.laws import ClockFeedback
from tokenfleet.policies.base import State
from tokenfleet.policies.registry import Preset

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

Margin = Annotated[float, Field(ge=0, lt=1)]


class Clocking(ABC):
    """One idea of how fast GPUs run.

    Attributes:
        fields: names of the view's fields that it reads.
        most_replicas: replicas of each pool that it lets be awake, `[P]`; None for all of them.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    most_replicas: Int64Array | None = None

    def initial_state(self, num_envs: int) -> State:
        """What it remembers when an episode begins; see `ControlPolicy.initial_state`."""
        return ()

    @abstractmethod
    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """Clock fractions `[N, P]`, and the state for the next tick."""


class FullClock(Clocking):
    """Every GPU at its highest clock, whatever the cap: what a fleet without power management does."""

    def __init__(self, scenario: Scenario) -> None:
        self._pools = len(scenario.pools)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        return np.ones((len(view.rows), self._pools)), state


class ProportionalClock(Clocking):
    """The clock is the cap's share of the site's nameplate power: a cap of 70 % means a clock of 70 %.

    Open loop and blind to load, the rule of thumb of an operator without a power model. Server and static board power
    do not fall with the clock, so a full load at a low cap still breaks it.
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

    The proof, by induction over ticks. (1) At a clock F no site draws more than `PowerModel.worst_site_w`, whatever its
    requests are, and that never falls with F. (2) A clock acts from the next iteration boundary on, and an iteration
    lasts no longer than `longest_iteration_s`; so the clock of this tick is in force at most until the latency of its
    pool and `ceil(longest_iteration_s / tick_s)` ticks have passed after it. (3) `CapForecast` bounds the caps of those
    ticks from below. The rule takes the highest clock whose worst draw is no more than that bound; hence in every tick,
    but those before its first clock arrives, every clock in force fits its cap.

    Where even the clock floor does not fit the deepest cap that the scenario can announce, some replicas sleep from
    the first tick on (`replicas_that_fit`). Sending them to sleep later would prove nothing: a replica goes on drawing
    until it has finished its requests, and nobody knows when that is.

    Rows are kept below their caps in the same way (`RowClock`); the lowest clock of those above a pool counts.

    Raises:
        SpecError: a site breaks its deepest cap with every replica asleep; no policy could keep it.
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
        """Worst draw of every site at every clock of the grid, `[CLOCK_STEPS, S]`, never falling [W]."""
        clock = np.maximum(self._grid[:, None], self._power.arrays.clock_floor_fraction)
        return self._power.worst_site_w(clock, awake)


class FeedbackClock(Clocking):
    """Proportional feedback: the clock of a site moves by what its meter says is left under the cap.

    The law is `supervision.laws.ClockFeedback`, its target `1 - margin` of the cap: the lowest that can come in the
    next `ahead_s`, so that the clock is down when the cap is. It knows no more than the meter: a burst breaks the cap
    for some ticks, which the brake's delay forgives. No loop can keep a cap that the clock floor does not reach, so
    replicas that do not fit the deepest cap there stay asleep (`replicas_that_fit`).

    Args:
        scenario: of the fleet.
        gain: share of the gap that is closed per tick under the worst load.
        margin: share of the cap that is left free.
        ahead_s: how far ahead a falling cap is followed [s].
    """

    fields: ClassVar[tuple[str, ...]] = ("cap_w", "announced_cap_w", "site_power_w", "row_cap_w", "announced_row_cap_w")

    def __init__(
        self, scenario: Scenario, gain: PositiveFloat = 0.5, margin: Margin = 0.04, ahead_s: NonNegativeFloat = 2.0
    ) -> None:
        self._power = PowerModel(scenario)
        a = self._power.arrays
        self._forecast = CapForecast.of_sites(scenario, np.full(a.num_sites, ahead_s))
        self._feedback = ClockFeedback(self._power, gain)
        self._floor = self._feedback.floor
        self._margin = margin
        self.most_replicas = replicas_that_fit(scenario, self._power, self._forecast.deepest_w)
        self._row_clock = RowClock(scenario, self._power, self.most_replicas, np.full(a.num_pools, ahead_s))

    def initial_state(self, num_envs: int) -> State:
        """The clock of every site, `[N, S]`: full."""
        return (np.ones((num_envs, len(self._floor))),)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        (clock,) = state
        cap_w = self._forecast.lowest_w(view["cap_w"], view["announced_cap_w"])
        free_w = (1.0 - self._margin) * cap_w - view["site_power_w"]
        clock = self._feedback.step(clock, free_w)
        return self._row_clock.limit(pool_clocks(self._power, clock), view), (clock,)


class ThermalClock(FeedbackClock):
    """`FeedbackClock`, and slower the nearer a room comes to its limit, so that the limit does not slow it down itself.

    From `band_k` below the limit up to the limit the highest clock falls in a straight line to the floor. Where the
    load lets it, the room then settles inside the band, and what its clocks serve less goes where they are higher: a
    backlog counts the clock. A site without a room is left to the feedback.

    Args:
        scenario: of the fleet.
        gain: see `FeedbackClock`.
        margin: likewise.
        ahead_s: likewise.
        band_k: how far below the limit the clocks begin to fall [K].
    """

    fields = (*FeedbackClock.fields, "room_c")

    def __init__(
        self,
        scenario: Scenario,
        gain: PositiveFloat = 0.5,
        margin: Margin = 0.04,
        ahead_s: NonNegativeFloat = 2.0,
        band_k: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(scenario, gain, margin, ahead_s)
        self._rooms = np.flatnonzero(self._power.arrays.room >= 0)
        self._limit_c = self._power.arrays.room_limit_c[self._rooms]
        self._band_k = band_k

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        clock, state = super().clocks(view, state)
        highest = np.ones((len(view.rows), len(self._floor)))
        share = np.clip((self._limit_c - view["room_c"]) / self._band_k, 0.0, 1.0)
        floor = self._floor[self._rooms]
        highest[:, self._rooms] = floor + (1.0 - floor) * share
        return np.minimum(clock, pool_clocks(self._power, highest)), state


CLOCKINGS: dict[str, Preset] = {
    "full": Preset(FullClock),
    "proportional": Preset(ProportionalClock),
    "uniform": Preset(UniformClock),
    "feedback": Preset(FeedbackClock),
    "thermal": Preset(ThermalClock),
}
"""Clock rules by name; a configuration may also name a `module:Class`."""
