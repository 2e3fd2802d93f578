"""Classical routers: shortest queues, two choices, and the index of a pool."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.heuristics.parts import Float64Array, Routing
from tokenfleet.policies.heuristics.steady import SteadyPools
from tokenfleet.policies.heuristics.virtual import PoolLoad, VirtualRequests


class JoinShortestQueue(VirtualRequests):
    """Every request to the pool with the fewest requests per awake replica.

    W. Winston, "Optimality of the shortest line discipline", J. Appl. Prob. 14, 1977, doi:10.1017/s0021900200104772. No
    constants.
    """

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Requests per awake replica."""
        return (load.requests / load.awake)[:, None, :]


class PowerOfTwo(Routing):
    """Of two pools, drawn at random by awake replicas, the one with fewer requests per replica.

    M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001,
    doi:10.1109/71.963420. The shares are the expected ones: a pool gets its probability of being drawn, times those of
    equally long pools (its own included) and twice those of longer pools. No constants.
    """

    fields = ("waiting_requests", "running_requests", "awake_replicas")

    def __init__(self, scenario: Scenario) -> None:
        self._mask = scenario.route_mask.astype(np.float64)

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        awake = view["awake_replicas"].astype(np.float64)
        length = (view["waiting_requests"] + view["running_requests"]) / np.maximum(awake, 1e-9)
        drawn = awake[:, None, :] * self._mask
        drawn = drawn / np.maximum(drawn.sum(axis=2, keepdims=True), 1e-300)
        is_longer = (length[:, None, :] > length[:, :, None]).astype(np.float64)  # [N, P, other]
        is_equal = (length[:, None, :] == length[:, :, None]).astype(np.float64)
        loses = (drawn[:, :, None, :] * (2.0 * is_longer + is_equal)[:, None]).sum(axis=3)
        shares: Float64Array = drawn * loses
        return shares


class Whittle(VirtualRequests):
    """Every request to the pool with the lowest index: what one more request adds to all present and future waits.

    For a pool that serves `mu` with arrivals `lam`, the index of its n-th request is the first difference of the
    relative value of an M/M/1 queue, `(n + 1) / (mu - lam)` (K. Krishnan, "Joining the right queue", IEEE TAC 35,
    1990, doi:10.1109/9.45148; N. Argon et al., "Dynamic routing of customers with general delay costs in a multiserver
    queuing system", PEIS 23, 2009). `lam` is the pool's share, by capacity, of the mean load.

    Args:
        scenario: of the fleet.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._full_rps = SteadyPools(scenario).replica_rps[-1]
        capacity = self._full_rps * self._replicas
        share = capacity / np.maximum(capacity.sum(axis=1, keepdims=True), 1e-300)
        busy = (self.service.mean_rate_rps[:, None] * share / np.maximum(self._full_rps, 1e-300)).sum(axis=0)
        self._free_share = np.clip(1.0 - busy / self._replicas, 0.05, 1.0)

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """`(n + 1) / (mu - lam)`, per awake replica."""
        served = np.maximum(self._full_rps * self._free_share, 1e-300)
        index: Float64Array = (load.requests / load.awake + 1.0)[:, None, :] / served
        return index
