"""A rolling-horizon linear programme on forecasts: batteries, awake replicas, deferred work and site power.

Every few ticks the policy plans the next minutes in steps of equal length, as a fluid: requests arrive as forecast, or
at their recent rate; a replica serves them at the rate and for the joules of the public physics' steady state; caps
come as announced, prices as forecast. The planner acts on the first step alone and then plans anew. Routes, clocks,
affinity and token prices are those of a composed policy. Its clocks also keep the caps from tick to tick, because a
plan knows means and no bursts.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linprog

from tokenfleet.envs.layers.ledger.electricity import JOULES_PER_KWH
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import PositiveFloat, PositiveInt, UnitFraction
from tokenfleet.policies.base import PolicyContext, State
from tokenfleet.policies.heuristics.composed import ComposedPolicy
from tokenfleet.policies.heuristics.steady import SteadyPools
from tokenfleet.policies.registry import Choice

Float64Array = NDArray[np.float64]
KWH_PER_MWH = 1e3
EARLIER = 0.98
"""Worth of a request in a step over that in the step before, so that nothing is put off without a gain."""
SCALE = 1e4
"""Factor on the objective, because the solver's tolerances are absolute."""


class RollingHorizon(ComposedPolicy):
    """Plans batteries, awake replicas and the release of deferrable work by a linear programme.

    Args:
        context: the environment.
        routing, clocking, awake, admission, affinity, pricing: rules for the rest; at most as many replicas are awake
            as `awake` says, and interactive work is admitted as `admission` says.
        look_ahead_s: how far a plan goes [s].
        steps: number of steps of a plan.
        decide_every: ticks from one plan to the next.
        fill: share of the capacity of awake replicas that a plan uses; the rest is for bursts.
        smoothing_s: time constant of the arrival rate, where there is no forecast [s].
    """

    fields = (
        "arrived",
        "held_requests",
        "announced_cap_w",
        "cap_w",
        "price_usd_per_mwh",
        "price_forecast_usd_per_mwh",
        "battery_charge_fraction",
        "demand_forecast_rps",
        "solar_forecast_w",
    )

    def __init__(
        self,
        context: PolicyContext,
        routing: Choice = "capacity_weighted",
        clocking: Choice = "feedback",
        awake: Choice = "by_value",
        admission: Choice = "backlog_gate",
        affinity: Choice = "even",
        pricing: Choice = "list",
        look_ahead_s: PositiveFloat = 120.0,
        steps: Annotated[int, Field(ge=2)] = 8,
        decide_every: PositiveInt = 10,
        fill: UnitFraction = 0.6,
        smoothing_s: PositiveFloat = 30.0,
    ) -> None:
        super().__init__(context, routing, clocking, awake, admission, "rest", affinity, pricing)
        scenario, pools = self.scenario, SteadyPools(self.scenario)
        self._a = a = pools.service.power.arrays
        self._step_s, self._steps, self._decide_every, self._fill = look_ahead_s / steps, steps, decide_every, fill
        self._smoothing = min(1.0, a.tick_s / smoothing_s)
        self._mean_rps = pools.service.mean_rate_rps
        full = pools.service.at(np.ones(a.num_pools))
        self._rate_rps = np.where(scenario.route_mask, full.requests_per_s, 0.0)
        self._request_j = np.where(self._rate_rps > 0.0, 1.0 / np.maximum(full.requests_per_joule, 1e-300), 0.0)
        self._request_usd = pools.request_usd
        self._idle_w, self._asleep_w = pools.idle_w, pools.asleep_w
        self._decodes_for_others = a.takes_over | ~scenario.route_mask.any(axis=0)  # a plan does not count their work
        self._deferrable = np.array([one.deferrable for one in scenario.classes.values()])
        self._forecast = [list(scenario.classes).index(name) for name in scenario.forecast_classes]
        self._starts_s = self._step_s * np.arange(steps)
        self._batteries = [list(scenario.sites).index(name) for name in scenario.batteries]
        self._own = len(self._plan_state(1))

    def initial_state(self, num_envs: int) -> State:
        """Ticks, rates `[N, K]`, replicas `[N, P]`, battery power `[N, S]`, release `[N, K]`, and the rules' own."""
        return (*self._plan_state(num_envs), *super().initial_state(num_envs))

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        (tick, rate_rps, replicas, battery_w, release_rps), rules = state[: self._own], state[self._own :]
        controls, rules = super().controls(view, rules)
        rate_rps = rate_rps + self._smoothing * (view["arrived"] / self._a.tick_s - rate_rps)
        replicas, battery_w, release_rps = replicas.copy(), battery_w.copy(), release_rps.copy()
        most = np.rint(controls.awake_fraction * self._a.replicas)
        for row in np.flatnonzero(tick % self._decide_every == 0).tolist():
            one = Record(view.layout, view.rows[row : row + 1].astype(np.float64))
            replicas[row], battery_w[row], release_rps[row] = self._plan(one, rate_rps[row], most[row])
        admit_rps = np.where(
            self._deferrable, np.minimum(np.maximum(release_rps, 0.0), controls.admit_rate_rps), controls.admit_rate_rps
        )
        planned = Controls(
            **{
                **controls.given(),
                "awake_fraction": np.minimum(replicas, most) / self._a.replicas,
                "admit_rate_rps": admit_rps,
                "battery_power_w": battery_w,
            }
        )
        return planned, (tick + 1, rate_rps, replicas, battery_w, release_rps, *rules)

    def _plan_state(self, num_envs: int) -> State:
        a = self._a
        return (
            np.zeros(num_envs, np.int64),
            np.broadcast_to(self._mean_rps, (num_envs, a.num_classes)).copy(),
            np.broadcast_to(a.replicas.astype(np.float64), (num_envs, a.num_pools)).copy(),
            np.zeros((num_envs, a.num_sites)),
            np.full((num_envs, a.num_classes), np.inf),
        )

    def _plan(
        self, view: Record, rate_rps: Float64Array, most: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Replicas `[P]`, battery power `[S]` [W] and release of deferrable classes `[K]` of the first step."""
        a, steps, step_s = self._a, self._steps, self._step_s
        served, awake, grid, charge, discharge, stored = self._columns()
        count = int(stored.max()) + 1
        cost, low, high = np.zeros(count), np.zeros(count), np.full(count, np.inf)
        demand_rps, price = self._demand_rps(view, rate_rps), self._price(view)
        sooner = EARLIER ** np.arange(steps)
        cost[served] = -(self._request_usd * step_s)[None, :, None] * sooner[:, None, None]
        cost[grid] = price * (step_s / JOULES_PER_KWH / KWH_PER_MWH)
        high[served] = np.where(self._rate_rps > 0.0, np.inf, 0.0)
        high[awake] = most
        rest_w = self._rest_w(view)
        high[grid] = np.maximum(self._caps_w(view), np.maximum(rest_w, 0.0))  # a lower cap leaves nothing to plan
        has_battery = a.battery >= 0
        high[charge] = high[discharge] = np.where(has_battery, a.battery_limit_w, 0.0)
        low[stored], high[stored] = (np.where(has_battery, j, 0.0) for j in (a.battery_lowest_j, a.battery_highest_j))
        rows, bounds = [], []

        def at_most(bound: float, *terms: tuple[NDArray[np.int64], Float64Array | float]) -> None:
            row = np.zeros(count)
            for columns, values in terms:
                row[columns] += values
            rows.append(row)
            bounds.append(bound)

        held = view["held_requests"][0]
        for h in range(steps):
            for k in range(a.num_classes):
                if self._deferrable[k]:  # whatever has come may be served now or later
                    come = held[k] + step_s * demand_rps[: h + 1, k].sum()
                    at_most(come / step_s, (served[: h + 1, k].ravel(), 1.0))
                else:
                    at_most(demand_rps[h, k], (served[h, k], 1.0))
            for p in range(a.num_pools):
                busy = np.where(self._rate_rps[:, p] > 0.0, 1.0 / np.maximum(self._rate_rps[:, p], 1e-12), 0.0)
                at_most(0.0, (served[h, :, p], busy), (awake[h, p : p + 1], -self._fill))
            for s in range(a.num_sites):
                mine = np.flatnonzero(a.site == s)
                # A request's joules hold the idle power of the replica time that it takes.
                idle_s = np.where(self._rate_rps > 0.0, self._idle_w / np.maximum(self._rate_rps, 1e-12), 0.0)
                extra_j = np.maximum(self._request_j - idle_s, 0.0)[:, mine]
                at_most(
                    -float(rest_w[h, s]),
                    (served[h][:, mine].ravel(), extra_j.ravel()),
                    (awake[h, mine], (self._idle_w - self._asleep_w)[mine]),
                    (charge[h, s : s + 1], 1.0),
                    (discharge[h, s : s + 1], -1.0),
                    (grid[h, s : s + 1], -1.0),
                )
        equal, equals = self._battery_rows(view, count, charge, discharge, stored)
        found = linprog(
            SCALE * cost, np.array(rows), np.array(bounds), equal, equals, np.stack([low, high], axis=1), method="highs"
        )
        if found.status != 0:
            raise RuntimeError(f"policy.{self.name}: the plan has no solution: {found.message}")
        plan = found.x
        soon = np.maximum(1, np.ceil(a.wake_s / step_s).astype(np.int64) + 1)  # steps whose replicas must wake now
        replicas = np.array([plan[awake[: soon[p], p]].max() for p in range(a.num_pools)])
        replicas = np.clip(np.ceil(replicas - 1e-6), np.minimum(most, 1.0), most)
        replicas = np.where(self._decodes_for_others, most, replicas)
        release_rps = np.where(self._deferrable, plan[served[0]].sum(axis=1), np.inf)
        return replicas, plan[discharge[0]] - plan[charge[0]], release_rps

    def _columns(self) -> list[NDArray[np.int64]]:
        """Indices of the variables: served `[H, K, P]`, awake `[H, P]`; grid, charge, discharge and stored `[H, S]`."""
        a, first, columns = self._a, 0, []
        per_site = [(self._steps, a.num_sites)] * 4
        for shape in [(self._steps, a.num_classes, a.num_pools), (self._steps, a.num_pools), *per_site]:
            size = int(np.prod(shape))
            columns.append(np.arange(first, first + size).reshape(shape))
            first += size
        return columns

    def _battery_rows(
        self,
        view: Record,
        count: int,
        charge: NDArray[np.int64],
        discharge: NDArray[np.int64],
        stored: NDArray[np.int64],
    ) -> tuple[Float64Array, Float64Array]:
        """Equations of what batteries hold after every step: a matrix and its right side."""
        a = self._a
        matrix, bound = np.zeros((stored.size, count)), np.zeros(stored.shape)
        numbers = np.arange(stored.size).reshape(stored.shape)
        matrix[numbers, stored] = 1.0
        matrix[numbers[1:], stored[:-1]] = -1.0
        matrix[numbers, charge] = -self._step_s * np.where(a.battery >= 0, a.battery_charge_efficiency, 1.0)
        matrix[numbers, discharge] = self._step_s / np.where(a.battery >= 0, a.battery_discharge_efficiency, 1.0)
        for place, s in enumerate(self._batteries):
            content_j = float(view["battery_charge_fraction"][0, place]) * a.battery_capacity_j[s]
            bound[0, s] = np.clip(content_j, a.battery_lowest_j[s], a.battery_highest_j[s])
        return matrix, bound.ravel()

    def _demand_rps(self, view: Record, rate_rps: Float64Array) -> Float64Array:
        """Arrivals of each step, `[H, K]`."""
        demand = np.broadcast_to(rate_rps, (self._steps, len(rate_rps))).copy()
        leads = self.scenario.forecast_lead_s
        if leads:
            for place, k in enumerate(self._forecast):
                series = view["demand_forecast_rps"][0, place]
                demand[:, k] = np.interp(self._starts_s, [0.0, *leads], [rate_rps[k], *series])
        return demand

    def _price(self, view: Record) -> Float64Array:
        """Price of each step, `[H, S]` [USD/MWh]."""
        now, leads = view["price_usd_per_mwh"][0], self.scenario.forecast_lead_s
        if not leads:
            return np.broadcast_to(now, (self._steps, len(now)))
        series = view["price_forecast_usd_per_mwh"][0]
        columns = [np.interp(self._starts_s, [0.0, *leads], [now[s], *series[s]]) for s in range(len(now))]
        return np.stack(columns, axis=1)

    def _caps_w(self, view: Record) -> Float64Array:
        """Power allowed in each step, `[H, S]` [W]: the lowest cap announced within it or nearest to its start."""
        lead_s = np.array([0.0, *self.scenario.announced_lead_s])
        caps_w = np.concatenate([view["cap_w"][0][:, None], view["announced_cap_w"][0]], axis=1)  # [S, L + 1]
        usable = []
        for start in self._starts_s:
            near = (lead_s >= start) & (lead_s <= start + self._step_s)
            near[np.abs(lead_s - start).argmin()] = True
            usable.append(caps_w[:, near].min(axis=1))
        return np.stack(usable)

    def _rest_w(self, view: Record) -> Float64Array:
        """Each site's draw with all replicas asleep in each step, less the solar forecast, `[H, S]` [W]."""
        a, leads = self._a, self.scenario.forecast_lead_s
        asleep_w = a.fixed_w + (a.replicas * self._asleep_w) @ np.eye(a.num_sites)[a.site]
        if not leads:
            return np.broadcast_to(asleep_w, (self._steps, a.num_sites))
        series = view["solar_forecast_w"][0]
        solar_w = [np.interp(self._starts_s, leads, series[s]) for s in range(a.num_sites)]
        rest_w: Float64Array = asleep_w - np.stack(solar_w, axis=1)
        return rest_w
