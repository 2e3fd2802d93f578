"""Where a request goes: a pool by the policy's shares, or the replica that holds its conversation."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.activity import State
from tokenfleet.envs.engine.reference.replica import Replica
from tokenfleet.envs.engine.reference.request import Request


class Router:
    """Chooses among the pools and replicas of one environment."""

    def __init__(self, arrays: FleetArrays, pools: list[list[Replica]]) -> None:
        """`pools` are the replicas of each pool."""
        self.arrays = arrays
        self.pools = pools
        self.replicas = [replica for pool in pools for replica in pool]
        self.pool_of = [p for p, pool in enumerate(pools) for _ in pool]
        self.first_replica = np.cumsum([0, *arrays.replicas]).tolist()
        self.home_replica: dict[int, int] = {}
        self._credit = np.zeros((arrays.num_classes, arrays.num_pools))

    def set_shares(self, route_share: np.ndarray, prefix_affinity: np.ndarray) -> None:
        """Follow shares `[K, P]` among the pools that can take requests now, and affinities `[K]`, from now on."""
        awake = np.array([any(replica.state is State.AWAKE for replica in pool) for pool in self.pools])
        share = np.where(self.arrays.route_mask & awake, route_share, 0.0)
        total = np.zeros(len(share))
        for p in range(share.shape[1]):
            total += share[:, p]
        self._share = share / np.where(total > 0.0, total, 1.0)[:, None]
        self._affinity = prefix_affinity

    def choose_pool(self, request: Request) -> int | None:
        """Choose the pool for a request, None where no pool can take it; notes the replica to which it returns."""
        k = request.class_id
        p = self._next_pool(k)
        if p is None:
            return None
        request.preferred_replica = self._home(request, p)
        if request.preferred_replica >= 0:
            self._credit[k, p] += 1.0
            p = self.pool_of[request.preferred_replica]
            self._credit[k, p] -= 1.0
        return p if request.kv_tokens <= self.arrays.context_limit_tokens[p] else None

    def choose_replica(self, request: Request, p: int) -> int | None:
        """The replica of pool `p` that takes a request now; None where none is awake."""
        awake = self._awake(p)
        if not awake:
            return None
        chosen = request.preferred_replica if request.preferred_replica in awake else self._least_loaded(awake)
        if request.conversation_id >= 0 and not request.is_computed:
            self.home_replica[request.conversation_id] = chosen
        return chosen

    def holder(self, request: Request) -> int:
        """The replica that last took a call of the conversation to prefill; -1 without one that serves the class."""
        home = self.home_replica.get(request.conversation_id, -1)
        return home if home >= 0 and self.arrays.route_mask[request.class_id, self.pool_of[home]] else -1

    def _next_pool(self, k: int) -> int | None:
        """Smooth weighted round robin: exact shares in the long run, no two bursts to the same pool."""
        share = self._share[k]
        open_pools = [p for p in range(len(share)) if share[p] > 0.0]
        if not open_pools:
            return None
        self._credit[k] += share
        chosen = max(open_pools, key=lambda p: self._credit[k, p])
        self._credit[k, chosen] -= 1.0
        return chosen

    def _home(self, request: Request, p: int) -> int:
        """The replica that holds the request's conversation, if it should return there rather than go to `p`."""
        k, home = request.class_id, self.holder(request)
        q = self.pool_of[home]
        if home < 0 or self._share[k, q] <= 0.0 or self.replicas[home].state is not State.AWAKE:
            return -1
        cached = self.replicas[home].cache.find(request).tokens
        if cached == 0 or request.kv_tokens > self.arrays.context_limit_tokens[q]:
            return -1
        least = self._work_tokens(self._least_loaded(self._awake(p)))
        return home if self._work_tokens(home) <= least + float(self._affinity[k]) * cached else -1

    def _awake(self, p: int) -> list[int]:
        indices = range(self.first_replica[p], self.first_replica[p + 1])
        return [index for index in indices if self.replicas[index].state is State.AWAKE]

    def _least_loaded(self, indices: list[int]) -> int:
        return min(indices, key=self._work_tokens)

    def _work_tokens(self, index: int) -> int:
        """`unprefilled_tokens` of a replica, plus each unfinished request's expected answer."""
        replica = self.replicas[index]
        return replica.unprefilled_tokens + sum(int(self.arrays.output_weight[r.class_id]) for r in replica.requests)
