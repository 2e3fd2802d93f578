"""As much as an engine takes: the longest requests, and the longest clocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.scenario import MAX_HORIZON_S
from tokenfleet.envs.spec import MAX_TOKENS
from tokenfleet.envs.traces import RequestTable

SHORT_TICK_S = 0.25
"""For which the demand of a long clock is drawn, and what a tick of huge requests lasts [s]: the reference runs every
iteration."""


def with_room_for_all(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """Pools that hold any request, and prefill most of it at once; few iterations, of which the reference runs all."""
    pools = arrays.num_pools
    kv_tokens = rng.choice([3 * MAX_TOKENS, 2**31, 2**40], pools)
    return replace(
        arrays,
        tick_s=SHORT_TICK_S,
        host_s=np.maximum(arrays.host_s, 0.01),
        kv_tokens=kv_tokens,
        context_limit_tokens=kv_tokens,
        host_cache_tokens=rng.choice([0, 2**40], pools),
        token_budget=rng.choice([2**10, 2**31], pools),
    )


def with_huge_requests(rng: np.random.Generator, requests: RequestTable) -> RequestTable:
    """Every fifth prompt and every fifth answer as long as they may be, and with it what is found in caches."""
    count = len(requests)
    huge_prompt, huge_output = rng.random((2, count)) < 0.2
    return replace(
        requests,
        prompt_tokens=np.where(huge_prompt, MAX_TOKENS, requests.prompt_tokens).astype(np.int32),
        output_tokens=np.where(huge_output, MAX_TOKENS, requests.output_tokens).astype(np.int32),
        reusable_tokens=np.where(huge_prompt, MAX_TOKENS, requests.reusable_tokens).astype(np.int32),
    )


def with_long_clock(arrays: FleetArrays) -> FleetArrays:
    """The same ticks, so long that all of them are the longest episode."""
    return replace(arrays, tick_s=MAX_HORIZON_S / arrays.horizon_ticks)


def with_late_requests(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable) -> RequestTable:
    """The same requests, in a few bursts, the last one shortly before the end."""
    end_s = arrays.tick_s * arrays.horizon_ticks
    begin_s = np.sort(np.append(rng.uniform(0.0, end_s, 2), end_s - 100.0))
    burst = np.sort(rng.integers(0, len(begin_s), len(requests)))
    return replace(requests, arrival_s=np.sort(begin_s[burst] + requests.arrival_s))
