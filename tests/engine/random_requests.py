"""Random demand for engine tests: requests, conversations, calls that wait for others, and what breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.gpu.failures import FailureTable
from tokenfleet.envs.traces import RequestTable

PREFIXES = ("conversation_id", "reusable_tokens", "group_id", "group_tokens")


def random_requests(rng: np.random.Generator, arrays: FleetArrays, horizon_s: float, load: float) -> RequestTable:
    count = rng.poisson(load * arrays.replicas.sum() * horizon_s)
    arrival_s = np.sort(rng.uniform(0, horizon_s * 1.05, count))
    if count > 4:  # ties must be served in the order of the table
        arrival_s[count // 2] = arrival_s[count // 2 - 1]
    prompt_tokens = np.ceil(rng.lognormal(5.0, 1.3, count)).astype(np.int32)
    return RequestTable.of(
        arrival_s,
        prompt_tokens,
        np.ceil(rng.lognormal(3.0, 1.2, count)).astype(np.int32),
        rng.integers(0, arrays.num_classes, count).astype(np.int32),
        price_tolerance=rng.lognormal(0.7, 0.5, count),
        **_prefixes(rng, prompt_tokens),
    )


def _prefixes(rng: np.random.Generator, prompt_tokens: np.ndarray) -> dict[str, np.ndarray]:
    """A few conversations, which here may overlap in time, and two groups with beginnings of their own."""
    count = len(prompt_tokens)
    group_id = rng.integers(-1, 2, count)
    beginnings = rng.integers(1, 200, 2)
    return {
        "conversation_id": rng.integers(-1, max(count // 5, 1), count),
        "reusable_tokens": (prompt_tokens * rng.random(count)).astype(np.int32),
        "group_id": group_id,
        "group_tokens": np.where(group_id < 0, 0, np.minimum(beginnings[group_id], prompt_tokens)),
    }


def with_long_talks(rng: np.random.Generator, requests: RequestTable) -> RequestTable:
    count = len(requests)
    return replace(
        requests,
        conversation_id=rng.integers(-1, max(count // 10, 1), count).astype(np.int32),
        reusable_tokens=(requests.prompt_tokens * rng.uniform(0.8, 1.0, count)).astype(np.int32),
    )


def linked(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable) -> RequestTable:
    """The same requests, about half of them calls that wait for one or two others."""
    count = len(requests)
    roots = (count + 1) // 2
    parents = [(int(rng.integers(0, row)), row) for row in range(roots, count) for _ in range(int(rng.integers(1, 3)))]
    edges = sorted(set(parents))
    predecessors = np.bincount([child for _, child in edges], minlength=count) if edges else np.zeros(count, int)
    return RequestTable.of(
        np.where(predecessors > 0, np.inf, requests.arrival_s),
        requests.prompt_tokens,
        requests.output_tokens,
        requests.class_id,
        edges=edges,
        **{name: getattr(requests, name) for name in PREFIXES},
        region_id=rng.integers(0, 3, count),
        session_id=rng.integers(-1, max(count // 4, 1), count),
        predecessors=predecessors,
        wait_s=rng.choice([0.0, 0.1, 1.0], count) * rng.random(count),
        retry_uniform=rng.random(count),
        price_tolerance=requests.price_tolerance,
    )


def random_contexts(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable) -> ContextTable:
    """For about half of the conversations, a replica that may or may not have a cache, or space in it."""
    conversations, first = np.unique(requests.conversation_id, return_index=True)
    row = first[(conversations >= 0) & (rng.random(len(first)) < 0.5)]
    rng.shuffle(row)
    return ContextTable(row, rng.integers(0, arrays.replicas.sum(), len(row)))


def random_failures(rng: np.random.Generator, arrays: FleetArrays) -> FailureTable:
    count = int(rng.integers(0, 5))
    tick = np.sort(rng.integers(0, arrays.horizon_ticks, count))
    replica = rng.integers(0, arrays.replicas.sum(), count)
    return FailureTable(tick, replica, tick * arrays.tick_s + rng.choice([0.0, 1.0, 3.3], count))
