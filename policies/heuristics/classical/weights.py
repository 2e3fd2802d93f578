"""Classical rules by weights: which class is worth a pool's time."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.backlog import BACKLOG_FIELDS, backlog_seconds
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Admission, Float64Array, Routing
from tokenfleet.policies.heuristics.steady import SteadyPools


class MaxWeight(Routing):
    """Each class to the pools where its work drains fastest: shares go with the service rate times the back-pressure.

    L. Tassiulas, A. Ephremides, "Stability properties of constrained queueing systems", IEEE TAC 37, 1992,
    doi:10.1109/9.182479, for routing: a pool's weight is its service rate `mu` times the back-pressure, by which its
    queue lies below the longest one. No constants.

    Args:
        scenario: of the fleet.
    """

    fields = BACKLOG_FIELDS

    def __init__(self, scenario: Scenario) -> None:
        self._service, self._capacity = ServiceModel(scenario), capacity_rps(scenario)
        self._replicas = self._service.power.arrays.replicas.astype(np.float64)
        self._mask = scenario.route_mask

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        backlog_s = backlog_seconds(self._service, view)
        met_s = np.where(self._mask, np.where(np.isfinite(backlog_s), backlog_s, 0.0)[:, None, :], 0.0)
        pressure = met_s.max(axis=2, keepdims=True) - met_s
        mu = self._capacity * (view["awake_replicas"] / self._replicas)[:, None, :]
        weights: Float64Array = mu * (1e-3 + pressure)
        return weights


class CMu(Admission):
    """The c-mu rule at the gate: the deferrable work with the highest cost per time is released first, the rest held.

    D. Cox, W. Smith, "Queues", 1961. The engine orders work inside a replica, so priority acts only at the gate. By
    falling `c mu`, classes take the capacity that is free until the backlog reaches `busy_s` and a tick; a deferrable
    class is released into what is left to it. Interactive work is let in until its backlog is hopeless. `c` is the
    price of a request over its limit of time: what it loses by being late.

    Args:
        scenario: of the fleet.
        busy_s: backlog up to which deferrable work is released [s] (ours).
        hopeless_share: share of its patience at which an interactive class's backlog is hopeless (ours).
    """

    fields = (*BACKLOG_FIELDS, "arrived")

    def __init__(
        self, scenario: Scenario, busy_s: NonNegativeFloat = 1.0, hopeless_share: PositiveFloat = 0.75
    ) -> None:
        pools = SteadyPools(scenario)
        self._service, self._mask = pools.service, scenario.route_mask
        a = self._service.power.arrays
        self._tick_s, self._busy_s = a.tick_s, busy_s
        self._full_rps = pools.replica_rps[-1]
        classes = list(scenario.classes.values())
        limit_s = np.array([cls.deadline_s or cls.ttft_s or cls.patience_s for cls in classes])
        self._patience_s = np.array([cls.patience_s for cls in classes]) * hopeless_share
        mu = self._full_rps.max(axis=1)
        self._order = np.argsort(-pools.request_usd / limit_s * mu, kind="stable")
        self._is_deferrable = np.array([cls.deferrable for cls in classes])

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        backlog_s = backlog_seconds(self._service, view)
        met_s = np.where(self._mask, backlog_s[:, None, :], np.inf).min(axis=2)
        awake = np.rint(view["awake_replicas"]).astype(np.float64)
        # Replica-seconds of each pool that are free until the backlog reaches its bound.
        free_s = awake * np.maximum(self._busy_s + self._tick_s - np.where(awake > 0, backlog_s, 0.0), 0.0)
        rates = np.empty(met_s.shape)
        for k in self._order:
            mine = self._mask[k] & (self._full_rps[k] > 0.0)
            free_requests = (free_s * self._full_rps[k] * mine).sum(axis=1)
            hopeless = met_s[:, k] > self._patience_s[k]
            open_rps = np.where(hopeless, 0.0, np.inf)
            rates[:, k] = free_requests / self._tick_s if self._is_deferrable[k] else open_rps
            taken = np.minimum(view["arrived"][:, k], free_requests)
            share = np.where(free_requests > 0.0, taken / np.maximum(free_requests, 1e-300), 0.0)
            free_s = free_s - free_s * mine * share[:, None]
        return rates, state


class EarliestDeadline(Admission):
    """Earliest deadline first at the gate: deferrable work goes when nothing due sooner waits, or when it must.

    C. Liu, J. Layland, "Scheduling algorithms for multiprogramming in a hard-real-time environment", J. ACM 20, 1973,
    doi:10.1145/321738.321743. Interactive work is due in its time to first token, deferrable work at its deadline. So
    deferrable work is released while no backlog delays work due sooner, and always at least at the rate that works off
    the held queue in `urgent_share` of the deadline.

    Args:
        scenario: of the fleet.
        urgent_share: share of the deadline (ours).
    """

    fields = (*BACKLOG_FIELDS, "held_requests")

    def __init__(self, scenario: Scenario, urgent_share: PositiveFloat = 0.5) -> None:
        self._service, self._mask = ServiceModel(scenario), scenario.route_mask
        a = self._service.power.arrays
        self._tick_s, self._replicas = a.tick_s, a.replicas.astype(np.float64)
        self._capacity = capacity_rps(scenario)
        classes = list(scenario.classes.values())
        self._deadline_s = np.array([cls.deadline_s or cls.patience_s for cls in classes])
        self._is_deferrable = np.array([cls.deferrable for cls in classes])
        self._urgent_share = urgent_share
        interactive = [cls.ttft_s for cls in classes if not cls.deferrable and cls.ttft_s]
        self._soonest_s = min(interactive, default=1.0)

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        backlog_s = backlog_seconds(self._service, view)
        met_s = np.where(self._mask, backlog_s[:, None, :], np.inf).min(axis=2)
        capacity = (self._capacity * (view["awake_replicas"] / self._replicas)[:, None, :]).sum(axis=2)
        calm_rps = capacity * np.maximum(self._soonest_s + self._tick_s - met_s, 0.0) / self._tick_s
        urgent_rps = view["held_requests"] / (self._urgent_share * self._deadline_s)
        return np.where(self._is_deferrable, np.maximum(calm_rps, urgent_rps), np.inf), state
