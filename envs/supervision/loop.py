"""The inner loop: set-points become controls, tick by tick, for N fleets at once.

A tick reads as an operator's day: follow the power target, keep replicas awake, route by backlog, let in or release
what a backlog allows, move the battery towards its charge. Sums and products run along the fleets one by one, so that a
fleet's controls do not depend on the others in the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.backlog import (
    BACKLOG_FIELDS,
    admission_rates_rps,
    backlog_seconds,
    class_backlog_seconds,
    least_work_weights,
)
from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.clock_limits import RowClock, usual_replicas
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.supervision.laws import ClockFeedback, ModelWaves
from tokenfleet.envs.supervision.setpoints import Setpoints

Float64Array = NDArray[np.float64]

GAIN = 0.5
"""Of the clock's feedback, as in the rule `feedback_capping`."""
AHEAD_S = 2.0
"""How far ahead a falling cap is followed, as in `feedback_capping` [s]."""
HYSTERESIS_REPLICAS = 0.25
"""How far beyond half a replica the wanted number must be from the present one for that to change."""
LEAST_DWELL_S = 30.0
"""Least time for which a pool keeps its number of awake replicas; the time to wake if that is longer [s]."""
WAVE = 0.25
"""Share of a pool that changes its model at a time."""
WAITING_S = 1.0
"""Backlog of interactive work above which a site may stand above its cap [s]."""
BATTERY_TIME_S = 60.0
"""Time in which a battery would reach its charge if its power did not end at `power_w` [s]."""


class LoopState(NamedTuple):
    """What the loop remembers of N fleets.

    Attributes:
        clock: of every site, before biases, `[N, S]`.
        awake: replicas that every pool is told to keep awake, `[N, P]`.
        dwell_s: time since this number changed, `[N, P]` [s].
        variant: share of every pool with a variant that is told to serve it, `[N, v]`.
    """

    clock: Float64Array
    awake: Float64Array
    dwell_s: Float64Array
    variant: Float64Array


class InnerLoop:
    """Holds set-points.

    Args:
        scenario: of the fleets.

    Attributes:
        fields: names of the view's fields that it reads.
        sizes: lengths of the axes of its set-points, but for N.
        usual_replicas: replicas of each pool that fit the contracts, `[P]`.
    """

    fields = (
        *BACKLOG_FIELDS,
        *ModelWaves.fields,
        "cap_w",
        "announced_cap_w",
        "row_cap_w",
        "announced_row_cap_w",
        "site_power_w",
        "braked",
        "brake_timer_s",
        "battery_power_w",
        "battery_charge_fraction",
    )

    def __init__(self, scenario: Scenario) -> None:
        self._service = ServiceModel(scenario)
        power = self._service.power
        a = power.arrays
        self.sizes = {"K": len(scenario.classes), "P": a.num_pools, "S": a.num_sites}
        self.usual_replicas = usual_replicas(scenario)
        self._tick_s, self._site, self._replicas = a.tick_s, a.site, a.replicas.astype(float)
        self._floor = a.clock_floor_fraction
        self._feedback = ClockFeedback.of_sites(power, GAIN)
        self._forecast = CapForecast.of_sites(scenario, np.full(a.num_sites, AHEAD_S))
        self._row_clock = RowClock(scenario, power, self.usual_replicas, np.full(a.num_pools, AHEAD_S))
        self._mask, self._capacity_rps = scenario.route_mask, capacity_rps(scenario)
        interactive = [cls.deferrable is False for cls in scenario.classes.values()]
        serves_people = self._mask[interactive].any(axis=0)
        self._pools_at = [np.flatnonzero((a.site == s) & serves_people) for s in range(a.num_sites)]
        self._delay_s = np.array([site.grid.brake.delay_s for site in scenario.sites.values()])
        self._overload = np.array([site.grid.breaker.pickup_ratio for site in scenario.sites.values()])
        self._dwell_s = np.maximum(a.wake_s, LEAST_DWELL_S)
        self._waves = ModelWaves(scenario, WAVE)
        sites, batteries = list(scenario.sites), scenario.batteries
        self._battery_site = [sites.index(name) for name in batteries]
        self._battery_w = np.array([battery.power_w for battery in batteries.values()])
        self._battery_j = np.array([battery.energy_j for battery in batteries.values()])

    def initial_state(self, num_envs: int) -> LoopState:
        """Full clocks, everything awake, and free to change at once."""
        pools = (num_envs, len(self._replicas))
        return LoopState(
            clock=np.ones((num_envs, len(self._delay_s))),
            awake=np.broadcast_to(self._replicas, pools).copy(),
            dwell_s=np.broadcast_to(self._dwell_s, pools).copy(),
            variant=self._waves.initial(num_envs),
        )

    def controls(self, setpoints: Setpoints, view: Record, state: LoopState) -> tuple[Controls, LoopState]:
        """Controls of N fleets for the coming tick.

        Args:
            setpoints: of N fleets.
            view: what the engine shows them.
            state: what the tick before left, never changed in place.
        """
        seen = Record(view.layout, view.rows.astype(np.float64))
        backlog_s = backlog_seconds(self._service, seen)
        target_w = self.target_w(setpoints, seen, backlog_s)
        free_w = target_w - seen["site_power_w"]
        # Under the brake the meter does not tell what the clock asked for would draw: it must not rise unseen.
        clock = self._feedback.step(state.clock, np.where(seen["braked"] > 0.0, np.minimum(free_w, 0.0), free_w))
        awake, dwell_s = self._keep_awake(setpoints.awake_replicas, state)
        variant_fraction, variant = self._switch(setpoints, seen, state)
        pool_clock = np.clip(clock[:, self._site] + setpoints.clock_bias, self._floor, 1.0)
        controls = Controls(
            route_share=self._shares(setpoints, seen, backlog_s),
            clock_fraction=self._row_clock.limit(pool_clock, seen),
            awake_fraction=awake / self._replicas,
            admit_rate_rps=self._rates_rps(setpoints, seen, backlog_s),
            battery_power_w=self._battery_power_w(setpoints, seen, target_w),
            prefix_affinity=setpoints.prefix_affinity,
            token_price_factor=setpoints.token_price_factor,
            standby_fraction=setpoints.standby_fraction,
            variant_fraction=variant_fraction,
            training_share=setpoints.training_share,
        )
        return controls, LoopState(clock, awake, dwell_s, variant)

    def target_w(self, setpoints: Setpoints, view: Record, backlog_s: Float64Array) -> Float64Array:
        """Power that every site is steered to, `[N, S]` [W]."""
        lowest_w = self._forecast.lowest_w(view["cap_w"], view["announced_cap_w"])
        may_spend = view["brake_timer_s"] + self._tick_s <= setpoints.brake_share * self._delay_s
        may_spend &= self._site_backlog_s(backlog_s) > WAITING_S
        return np.where(may_spend, self._overload * view["cap_w"], setpoints.power_share * lowest_w)

    def _site_backlog_s(self, backlog_s: Float64Array) -> Float64Array:
        """The longest backlog of a site's pools that serve interactive classes, `[N, S]` [s]; 0 without any."""
        longest = [
            backlog_s[:, pools].max(axis=1) if len(pools) else np.zeros(len(backlog_s)) for pools in self._pools_at
        ]
        return np.stack(longest, axis=1)

    def _keep_awake(self, wanted: Float64Array, state: LoopState) -> tuple[Float64Array, Float64Array]:
        """Whole numbers of replicas that follow those wanted, with hysteresis, and the time since they changed."""
        wanted = np.minimum(wanted, self._replicas)
        changes = np.abs(wanted - state.awake) > 0.5 + HYSTERESIS_REPLICAS
        changes &= state.dwell_s >= self._dwell_s
        awake = np.where(changes, np.rint(wanted), state.awake)
        return awake, np.where(changes, 0.0, state.dwell_s + self._tick_s)

    def _switch(self, setpoints: Setpoints, view: Record, state: LoopState) -> tuple[Float64Array | None, Float64Array]:
        """Share of each pool that is to serve its variant, `[N, P]`, and the same of the pools with one, `[N, v]`."""
        if setpoints.variant_fraction is None:
            return None, state.variant
        variant = self._waves.step(state.variant, setpoints.variant_fraction[:, self._waves.pools], view)
        fraction = np.zeros_like(setpoints.variant_fraction)
        fraction[:, self._waves.pools] = variant
        return fraction, variant

    def _shares(self, setpoints: Setpoints, view: Record, backlog_s: Float64Array) -> Float64Array:
        met_s = np.where(self._mask, backlog_s[:, None, :], np.inf) - setpoints.route_bias_s
        awake_share = view["awake_replicas"] / self._replicas
        return least_work_weights(met_s, setpoints.route_spread_s[:, :, None], self._capacity_rps, awake_share)

    def _rates_rps(self, setpoints: Setpoints, view: Record, backlog_s: Float64Array) -> Float64Array:
        met_s = class_backlog_seconds(backlog_s, self._mask)
        awake_share = view["awake_replicas"] / self._replicas
        return admission_rates_rps(met_s, setpoints.backlog_limit_s, self._capacity_rps, awake_share, self._tick_s)

    def _battery_power_w(self, setpoints: Setpoints, view: Record, target_w: Float64Array) -> Float64Array | None:
        """Discharge above the set charge; below it, charge with the watts that the power target leaves."""
        if setpoints.battery_charge is None or not self._battery_site:
            return None
        power_w = np.zeros(target_w.shape)
        surplus = view["battery_charge_fraction"] - setpoints.battery_charge[:, self._battery_site]
        wanted_w = np.clip(surplus * self._battery_j / BATTERY_TIME_S, -self._battery_w, self._battery_w)
        others_w = view["site_power_w"][:, self._battery_site] + view["battery_power_w"]
        slack_w = np.maximum(target_w[:, self._battery_site] - others_w, 0.0)
        power_w[:, self._battery_site] = np.maximum(wanted_w, -slack_w)
        return power_w
