"""DynamoLLM without re-sharding: replicas by forecast, and the frugal clock that keeps the limits."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat, PositiveFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.awake import ByValue
from tokenfleet.policies.heuristics.parts import Awake, Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import IterationTimes, SteadyPools, divisor_of_each


class DynamoLlmPool(Awake):
    """The pool manager: every five minutes as many replicas as the forecast load needs.

    DynamoLLM (arXiv 2408.00741, HPCA 2025) [text]: nodes by the peak of the predicted load over the highest load of the
    best configuration, every 5 minutes; a weekly template predicts the load. Here a smoothed rate times `peak` stands
    for the template's peak (ours), and tensor parallelism cannot change.

    Args:
        scenario: of the fleet.
        period_s: time between two decisions [s]; 300 [text].
        peak: peak of the predicted load over its mean (ours).
        smoothing_s: time constant of the forecast (ours) [s].
    """

    fields = ("arrived",)

    def __init__(
        self,
        scenario: Scenario,
        period_s: PositiveFloat = 300.0,
        peak: PositiveFloat = 2.0,
        smoothing_s: PositiveFloat = 100.0,
    ) -> None:
        self._pools, self._bound = SteadyPools(scenario), ByValue(scenario)
        a = self._pools.service.power.arrays
        self._tick_s, self._every, self._peak = a.tick_s, max(round(period_s / a.tick_s), 1), peak
        self._smoothing = min(1.0, a.tick_s / smoothing_s)

    @property
    def reads(self) -> frozenset[str]:
        """See `Rule.reads`."""
        return super().reads | self._bound.reads

    def initial_state(self, num_envs: int) -> State:
        """Forecast rates `[N, K]`, replicas `[N, P]` and the tick `[N]`."""
        rate = np.broadcast_to(self._pools.service.mean_rate_rps, (num_envs, self._pools.classes))
        most = self._bound.usual
        return (rate.copy(), np.broadcast_to(most, (num_envs, len(most))).copy(), np.zeros(num_envs))

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        rate, kept, tick = state
        rate = rate + self._smoothing * (view["arrived"] / self._tick_s - rate)
        most, _ = self._bound.replicas(view, ())
        needed = np.ceil(self._peak * self._pools.busy_replicas(rate, self._bound.usual) - 1e-9)
        needed = np.clip(needed, np.minimum(most, 1.0), most)
        kept = np.minimum(np.where((tick % self._every == 0)[:, None], needed, kept), most)
        return kept, (rate, kept, tick + 1.0)


class DynamoLlmInstance(Clocking):
    """The instance manager: every five seconds the clock of least energy among those that keep the limits.

    DynamoLLM [text]: clocks from 800 to 1980 MHz in steps of 200 MHz; those that break the limit at the current load
    are discarded, and the one of least energy is taken; in an emergency the highest. Here seven clocks stand for the
    steps, and the current load is the running batch with the waiting requests. It ignores caps.

    Args:
        scenario: of the fleet.
        period_s: time between two decisions [s]; 5 [text].
        margin: share of the limit per token that is used (ours).
    """

    fields = ("waiting_requests", "running_requests", "kv_reserved_fraction", "awake_replicas", "unprefilled_tokens")

    def __init__(self, scenario: Scenario, period_s: PositiveFloat = 5.0, margin: PositiveFraction = 0.9) -> None:
        self._times, self._pools = IterationTimes(scenario, 7), SteadyPools(scenario)
        a = self._pools.service.power.arrays
        self._every, self._floor = max(round(period_s / a.tick_s), 1), a.clock_floor_fraction
        self._kv_tokens, self._seats = np.asarray(a.kv_tokens, np.float64), a.max_batch.astype(np.float64)
        self._prompt_s = self._times.prompt_token_s()
        self._limit_s = self._times.tpot_s * margin
        self._first_s = np.where(np.isfinite(self._times.ttft_s), self._times.ttft_s, 10.0)
        earned, drawn, _ = self._pools.earned_and_drawn()
        frugal = self._pools.pool_clocks[(drawn / np.maximum(earned, 1e-300)).argmin(axis=0), np.arange(a.num_pools)]
        self._at_least = self._times.clocks[:, None] >= frugal - 0.05

    def initial_state(self, num_envs: int) -> State:
        """Clocks `[N, P]` and the tick `[N]`."""
        return (np.ones((num_envs, len(self._floor))), np.zeros(num_envs))

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        clock, tick = state
        awake = divisor_of_each(view)
        batch = np.minimum((view["running_requests"] + view["waiting_requests"]) / awake, self._seats)
        context = np.minimum(batch * self._times.context_tokens, self._kv_tokens)
        keeps = self._times.decode_s(batch, context) <= self._limit_s
        keeps &= (view["unprefilled_tokens"] / awake)[:, None, :] * self._prompt_s <= self._first_s
        chosen = np.maximum(self._times.lowest(keeps & self._at_least), self._floor)
        clock = np.where((tick % self._every == 0)[:, None], chosen, clock)
        return clock, (clock, tick + 1.0)
