"""What prefix caches hold when an episode begins: the contexts of sessions under way.

An episode is a window of a fleet that has always run. A conversation with calls before the window has left its context
at the replica that answered the last of them. No record names this replica, so the replica is drawn: each one that
serves the class with a prefix cache is equally likely. A replica holds the contexts that were used last, as many as fit
its memory. What a group's conversations have in common is counted with each of them.

Simplified: a context is held whole or not at all, and requests that ran when the window began took no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable

LongColumn = NDArray[np.int64]


@dataclass(frozen=True)
class ContextTable:
    """X contexts, the least recently used first.

    Attributes:
        row: the first call of the conversation in the episode, which can reuse its `reusable_tokens`, `[X]`.
        replica: who holds it, index over all pools, `[X]`.
    """

    row: LongColumn
    replica: LongColumn

    @classmethod
    def none(cls) -> ContextTable:
        """Every cache is empty."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    def columns(self) -> tuple[list[int], list[int]]:
        """As plain numbers."""
        return self.row.tolist(), self.replica.tolist()


def draw_contexts(scenario: Scenario, requests: RequestTable, seed: Sequence[int]) -> ContextTable:
    """Where the contexts of conversations under way are.

    Args:
        scenario: of the fleet.
        requests: demand; `context_age_s` says which contexts there are.
        seed: of what is drawn.
    """
    pools = list(scenario.pools.values())
    is_warm = np.array([pool.prefix_cache and pool.warm_cache for pool in pools])
    if not is_warm.any():
        return ContextTable.none()
    rng = np.random.default_rng(seed)
    replicas = np.array([pool.replicas for pool in pools])
    holders = [np.flatnonzero(np.repeat(serves & is_warm, replicas)) for serves in scenario.route_mask]
    row = np.flatnonzero(np.isfinite(requests.context_age_s) & (requests.conversation_id >= 0))
    row = row[np.array([len(places) > 0 for places in holders])[requests.class_id[row]]]
    replica = np.array([rng.choice(holders[k]) for k in requests.class_id[row]], np.int64)
    memory_tokens = np.repeat([pool.kv_capacity_tokens + pool.host_cache_tokens for pool in pools], replicas)
    kept = _most_recent(requests, row, replica, memory_tokens)
    order = kept[np.argsort(-requests.context_age_s[row[kept]], kind="stable")]
    return ContextTable(row[order], replica[order])


def _most_recent(
    requests: RequestTable, row: LongColumn, replica: LongColumn, memory_tokens: NDArray[np.int64]
) -> LongColumn:
    """Places in `row` of the contexts that their replicas have memory for."""
    order = np.lexsort((requests.context_age_s[row], replica))
    tokens, at = requests.reusable_tokens[row[order]].astype(np.int64), replica[order]
    total = np.cumsum(tokens)
    before = (total - tokens)[np.searchsorted(at, at)]
    return order[total - before <= memory_tokens[at]]
