"""Greedy efficiency: as few replicas, at as low a clock, on as frugal pools as the load allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import PositiveFloat, PositiveFraction
from tokenfleet.policies.base import ControlPolicy, PolicyContext, State
from tokenfleet.policies.heuristics.awake import ByValue, FixedAwake
from tokenfleet.policies.heuristics.parts import Clocking
from tokenfleet.policies.heuristics.rules import CLOCKINGS
from tokenfleet.policies.presets import Preset
from tokenfleet.policies.registry import Choice, build

Float64Array = NDArray[np.float64]

CLOCK_STEPS = 31
"""Clocks that are compared, from the lowest floor to 1: steps of 2 % from a floor of 0.4."""


class _Plan(NamedTuple):
    """How a load is packed into pools; `[N, P]`."""

    share: Float64Array  # of the traffic of the pool's model
    needed: Float64Array  # replicas that this share loads to the target


class GreedyEfficiency(ControlPolicy):
    """Packs each model's load into the pools that serve most requests per joule, and lets the rest sleep.

    Every tick: (1) The arrival rate of each class is smoothed; waiting requests are added as if due in `drain_s`.
    (2) A model's pools, best requests per joule first, are filled up to `target_load` of what they can serve within
    the latency limits; what fits nowhere is spread by capacity. (3) A pool wakes replicas as soon as it needs them, and
    puts them to sleep, one a tick, once some have been spare for `patience` times the model's wake time. (4) The clock
    is the lowest that keeps the load within the target, but not below the pool's most efficient clock and not above
    what the clock rule allows under the cap. Pools that only decode for others are kept awake and as fast as the cap
    allows.

    A. Gandhi, M. Harchol-Balter, R. Raghunathan, M. Kozuch, "AutoScale: Dynamic, robust capacity management for
    multi-tier data centers", ACM TOCS 30(4), 2012, doi:10.1145/2382553.2382556 (packing onto few servers, and turning
    one off only after it has been spare for about its setup time).

    Args:
        context: the environment.
        clocking: the clock rule that keeps the cap: a name of `CLOCKINGS`, a mapping with parameters, `module:Class`.
        target_load: share of its capacity to which a pool is filled.
        smoothing_s: time constant of the arrival rate [s].
        drain_s: time in which waiting requests should be worked off [s].
        patience: spare time before a replica sleeps, in wake times of its model.

    Attributes:
        parts: see `ComposedPolicy`.
    """

    fields = ("arrived", "waiting_requests", "awake_replicas")
    parts: ClassVar[Mapping[str, Mapping[str, Preset]]] = {"clocking": CLOCKINGS}

    def __init__(
        self,
        context: PolicyContext,
        clocking: Choice = "thermal",
        target_load: PositiveFraction = 0.35,
        smoothing_s: PositiveFloat = 10.0,
        drain_s: PositiveFloat = 2.0,
        patience: PositiveFloat = 2.0,
    ) -> None:
        super().__init__(context)
        self.clocking: Clocking = build(clocking, CLOCKINGS, f"policy.{self.name}.clocking", self.scenario)
        most = self.clocking.most_replicas
        self._bound = ByValue(self.scenario) if most is None else FixedAwake(most.astype(np.float64))
        self._most = self._bound.usual
        self.require(self.clocking.reads | self._bound.reads)
        self._target_load, self._drain_s = target_load, drain_s
        self._service = ServiceModel(self.scenario)
        arrays = self._service.power.arrays
        self._tick_s = arrays.tick_s
        self._smoothing = min(1.0, arrays.tick_s / smoothing_s)
        self._sleep_after_s = patience * arrays.wake_s
        self._replicas = arrays.replicas.astype(float)
        self._tabulate()

    def initial_state(self, num_envs: int) -> State:
        """Arrival rates `[N, K]`, replicas awake and seconds with spare ones `[N, P]`, and the clock rule's state."""
        pools = (num_envs, len(self._most))
        rate_rps = np.broadcast_to(self._service.mean_rate_rps, (num_envs, len(self._mask)))
        kept = np.broadcast_to(self._most, pools)
        return (rate_rps.copy(), kept.copy(), np.zeros(pools), *self.clocking.initial_state(num_envs))

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        rate_rps, kept, spare_s, *clock_state = state
        rate_rps = rate_rps + self._smoothing * (view["arrived"] / self._tick_s - rate_rps)
        waiting_rps = self._model_sum(view["waiting_requests"]) / self._drain_s
        demand_rps = rate_rps + waiting_rps[:, self._model_of_class] * self._mix
        awake = np.rint(view["awake_replicas"])

        plan = self._pack(demand_rps, awake)
        efficient_clock = np.where(self._takes_requests, self._efficient_clock(demand_rps, plan.share, awake), 1.0)
        most, _ = self._bound.replicas(view, ())
        kept, spare_s = self._keep(self._pack(demand_rps, self._most).needed, most, kept, spare_s)
        cap_clock, after = self.clocking.clocks(view, tuple(clock_state))
        controls = Controls(
            route_share=plan.share[:, None, :] * self._mask,
            clock_fraction=np.minimum(efficient_clock, cap_clock),
            awake_fraction=kept / self._replicas,
            admit_rate_rps=np.full(rate_rps.shape, np.inf),
        )
        return controls, (rate_rps, kept, spare_s, *after)

    def _tabulate(self) -> None:
        """Compute what does not change: models, their pools in order of efficiency, and service over clocks."""
        service, arrays = self._service, self._service.power.arrays
        self._mask = self.scenario.route_mask.astype(float)
        self._takes_requests: NDArray[np.bool_] = np.any(self.scenario.route_mask, axis=0)
        models = {pool.model: None for pool in self.scenario.pools.values()}
        index = {model: m for m, model in enumerate(models)}
        self._model_of_pool = np.array([index[pool.model] for pool in self.scenario.pools.values()])
        self._model_of_class = np.array([index[cls.model] for cls in self.scenario.classes.values()])
        self._is_model = np.eye(len(models))[self._model_of_pool] * self._takes_requests[:, None]  # [P, M]
        weight = np.maximum(service.mean_rate_rps, 1e-9)
        self._mix = weight / (np.eye(len(models))[self._model_of_class].T @ weight)[self._model_of_class]

        self._clocks = np.linspace(arrays.clock_floor_fraction.min(), 1.0, CLOCK_STEPS)
        clock = np.maximum(self._clocks[:, None], arrays.clock_floor_fraction)
        rates = service.at(clock)
        with np.errstate(divide="ignore"):
            self._replica_s = np.where(rates.requests_per_s > 0.0, 1.0 / rates.requests_per_s, 0.0)  # [G, K, P]
            joules = np.where(rates.requests_per_joule > 0.0, 1.0 / rates.requests_per_joule, 0.0)
        joules_per_request = np.einsum("k,gkp->gp", self._mix, joules)
        self._best_step = joules_per_request.argmin(axis=0)
        frugal_first = np.argsort(joules_per_request.min(axis=0), kind="stable")
        self._order = frugal_first[self._takes_requests[frugal_first]]
        first = {int(self._model_of_pool[p]): int(p) for p in self._order[::-1]}
        self._first_pools = np.array(sorted(first.values()))

    def _model_sum(self, per_pool: Float64Array) -> Float64Array:
        total: Float64Array = per_pool @ self._is_model
        return total

    def _pack(self, demand_rps: Float64Array, available: Float64Array) -> _Plan:
        """Fill pools in order of efficiency, `available` replicas in each, `[N, P]` or `[P]`."""
        load = demand_rps @ self._replica_s[-1]  # replicas that each pool would need for all of its model's traffic
        available = np.broadcast_to(available, load.shape)
        most = self._target_load * available / np.maximum(load, 1e-12)
        share = np.zeros_like(load)
        left = np.ones((len(load), self._is_model.shape[1]))
        for p in self._order:
            model = self._model_of_pool[p]
            share[:, p] = np.minimum(left[:, model], most[:, p])
            left[:, model] -= share[:, p]
        needed = np.ceil(share * load / self._target_load - 1e-9)
        needed[:, self._first_pools] = np.maximum(needed[:, self._first_pools], 1.0)
        capacity = available / np.maximum(load, 1e-12)
        total = self._model_sum(capacity)[:, self._model_of_pool]
        share += left[:, self._model_of_pool] * capacity / np.maximum(total, 1e-12)
        return _Plan(share, np.where(self._takes_requests, needed, self._most))

    def _keep(
        self, needed: Float64Array, most: Float64Array, kept: Float64Array, spare_s: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Replicas to keep awake, at most `most`, and how long some have been spare [s], both `[N, P]`."""
        needed = np.minimum(needed, most)
        spare_s = np.where(needed < kept, spare_s + self._tick_s, 0.0)
        kept = np.where(needed < kept, kept - (spare_s > self._sleep_after_s), needed)
        return np.minimum(kept, most), spare_s

    def _efficient_clock(self, demand_rps: Float64Array, share: Float64Array, awake: Float64Array) -> Float64Array:
        """The lowest clock, from the most efficient one up, at which awake replicas stay within the target load."""
        busy = np.einsum("nk,gkp->ngp", demand_rps, self._replica_s) * share[:, None, :]
        steps = np.arange(CLOCK_STEPS)[:, None]
        fits = (busy <= self._target_load * awake[:, None, :]) & (steps >= self._best_step)
        step = np.where(fits.any(axis=1), fits.argmax(axis=1), CLOCK_STEPS - 1)
        return np.maximum(self._clocks[step], self._service.power.arrays.clock_floor_fraction)
