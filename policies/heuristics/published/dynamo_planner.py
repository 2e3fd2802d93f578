"""NVIDIA Dynamo's planner: replicas by forecast load, trimmed by estimated latency, within a power budget."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat, PositiveFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Awake, Float64Array
from tokenfleet.policies.heuristics.steady import IterationTimes, SteadyPools, divisor_of_each


class DynamoPlanner(Awake):
    """A throughput loop bounds replicas from below, a load loop adds or removes one, a power budget shrinks them all.

    ai-dynamo/dynamo, `components/src/dynamo/planner/core` (power budget: #12012) [code]. Every 180 s: replicas for the
    forecast rate, at least one, a change of at most 8. Every 5 s: one more where every engine's estimated latency is
    above its limit; one less only if all engines stay below 0.8 of their limits once they share the load of one that
    goes. Projected watts are replicas times nameplate watts; over the budget all are shrunk in proportion, rounded
    down, never below one. The budget is a constant there and the lowest cap here, now or announced; a loaded replica's
    draw in the steady state stands for nameplate watts, a smoothed rate for the ARIMA forecast, the steady state for
    rates within a limit, and a pool's mean replica for its engines (all ours).

    Args:
        scenario: of the fleet.
        throughput_s: period of the throughput loop; 180 [code].
        load_s: period of the load loop; 5 [code].
        headroom: share of a limit that scaling down must keep; 0.8 [code].
        smoothing_s: time constant of the forecast (ours) [s].
    """

    fields = ("arrived", "waiting_requests", "running_requests", "unprefilled_tokens", "kv_reserved_fraction",
        "awake_replicas", "cap_w", "announced_cap_w")  # fmt: skip
    MOST_CHANGE = 8.0

    def __init__(
        self,
        scenario: Scenario,
        throughput_s: PositiveFloat = 180.0,
        load_s: PositiveFloat = 5.0,
        headroom: PositiveFraction = 0.8,
        smoothing_s: PositiveFloat = 60.0,
    ) -> None:
        self._pools, self._times = SteadyPools(scenario), IterationTimes(scenario, 2)
        a = self._pools.service.power.arrays
        self._site, self._tick_s, self._sites = a.site, a.tick_s, a.num_sites
        self._replicas = a.replicas.astype(np.float64)
        self._kv_tokens = np.asarray(a.kv_tokens, np.float64)
        self._every = np.maximum(np.round(np.array([throughput_s, load_s]) / a.tick_s), 1.0)
        self._headroom, self._smoothing = headroom, min(1.0, a.tick_s / smoothing_s)
        self._nameplate_w = self._pools.replica_w[-1]
        self._least = np.minimum(self._replicas, 1.0)
        self._first_s = np.where(np.isfinite(self._times.ttft_s), self._times.ttft_s, 10.0)
        self._prompt_s = self._times.prompt_token_s()[-1]
        self._fixed_w = a.fixed_w

    def initial_state(self, num_envs: int) -> State:
        """Forecast rates `[N, K]`, lower bounds and replicas `[N, P]`, and the tick `[N]`."""
        pools = (num_envs, len(self._replicas))
        rate = np.broadcast_to(self._pools.service.mean_rate_rps, (num_envs, self._pools.classes))
        return (rate.copy(), np.ones(pools), np.broadcast_to(self._replicas, pools).copy(), np.zeros(num_envs))

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        rate, bound, kept, tick = state
        rate = rate + self._smoothing * (view["arrived"] / self._tick_s - rate)
        plans, trims = ((tick % every == 0.0)[:, None] for every in self._every)
        needed = np.ceil(self._pools.busy_replicas(rate, self._replicas) - 1e-9)
        moved = np.clip(needed, kept - self.MOST_CHANGE, kept + self.MOST_CHANGE)
        bound = np.where(plans, np.clip(moved, self._least, self._replicas), bound)
        kept = np.where(plans, np.maximum(kept, bound), kept)
        kept = np.where(trims, np.clip(kept + self._trim(view), bound, self._replicas), kept)
        return self._within_budget(view, kept), (rate, bound, kept, tick + 1.0)

    def _trim(self, view: Record) -> Float64Array:
        """Change of replicas by the load loop: 1, -1 or 0, `[N, P]`."""
        awake = divisor_of_each(view)
        running, tokens = view["running_requests"] / awake, view["unprefilled_tokens"] / awake
        context = self._times.context_on_each(view)
        itl_s = self._times.decode_s(running, context)[:, -1]
        first_s = tokens * self._prompt_s
        up = (first_s > self._first_s) | (itl_s > self._times.tpot_s)
        more = awake / np.maximum(awake - 1.0, 1e-9)  # load on each of the others
        after_s = self._times.decode_s(running * more, context * more)[:, -1]
        fits = context * more <= self._kv_tokens
        down = (first_s * more < self._headroom * self._first_s) & (after_s < self._headroom * self._times.tpot_s)
        return np.where(up, 1.0, np.where(down & fits & (awake > 1.0), -1.0, 0.0))

    def _within_budget(self, view: Record, wanted: Float64Array) -> Float64Array:
        """Replicas shrunk in proportion to what the lowest cap, now or announced, carries under full load, `[N, P]`."""
        budget_w = np.minimum(view["cap_w"], view["announced_cap_w"].min(axis=2, initial=np.inf)) - self._fixed_w
        drawn_w = wanted * self._nameplate_w
        site_w = np.stack([drawn_w[:, self._site == s].sum(axis=1) for s in range(self._sites)], axis=1)
        scale = np.minimum(budget_w / np.maximum(site_w, 1e-9), 1.0)[:, self._site]
        return np.maximum(np.where(scale < 1.0, np.floor(wanted * scale + 1e-9), wanted), self._least)
