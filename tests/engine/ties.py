"""Whole numbers everywhere, so that much happens at the same time, and amounts meet their limits exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

RATES_RPS = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 7.0, np.inf)
"""Whole ones, and some whose sums are whole only on paper."""


def with_tied_limits(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """Limits, waits and distances in whole or half seconds; in half of the fleets iterations last some, too."""
    classes, sites = arrays.num_classes, arrays.num_sites
    arrays = replace(
        arrays,
        tick_s=float(rng.choice([0.5, 1.0, 2.0])),
        ttft_s=rng.choice([0.5, 1.0, 2.0, np.inf], classes),
        tpot_s=rng.choice([0.25, 0.5, 1.0, np.inf], classes),
        deadline_s=rng.choice([1.0, 3.0, 5.0, np.inf], classes),
        patience_s=rng.choice([1.0, 2.0, 5.0], classes),
        output_weight=np.full(classes, 20),
        backoff_s=rng.choice([0.0, 1.0, 2.0], classes),
        backoff_factor=rng.choice([1.0, 2.0], classes),
        backoff_jitter=np.zeros(classes),
        wake_s=rng.choice([0.0, 1.0, 2.0], arrays.num_pools),
        network_s=rng.choice([0.0, 0.25, 0.5], (len(arrays.network_s), sites)),
        kv_latency_s=rng.choice([0.0, 0.25], (arrays.num_pools, arrays.num_pools)),
    )
    return _with_even_iterations(rng, arrays) if rng.random() < 0.5 else arrays


def _with_even_iterations(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """Every iteration of a pool lasts as long as any other, in some an even part of a second."""
    pools, knots = arrays.num_pools, len(TOKEN_KNOTS)
    nothing = np.zeros(pools)
    return replace(
        arrays,
        host_s=rng.choice([0.1, 0.25, 0.3, 0.5], pools),
        token_s=np.zeros((pools, knots)),
        decode_s=nothing,
        context_s=nothing,
        mixed_context_s=nothing,
        prefill_attention_s=nothing,
        host_load_s=nothing,
        kv_token_s=np.zeros((pools, pools)),
    )


def on_ticks(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable) -> RequestTable:
    """Arrivals on ticks or whole seconds, a few lengths, whole waits, and clients that all accept the same price."""
    count, step_s = len(requests), float(rng.choice([arrays.tick_s, 1.0]))
    longest = np.maximum(requests.group_tokens, requests.reusable_tokens)
    return replace(
        requests,
        arrival_s=np.floor(requests.arrival_s / step_s) * step_s,
        prompt_tokens=np.maximum(rng.choice([16, 64, 256], count).astype(np.int32), longest),
        output_tokens=rng.choice([1, 8, 32], count).astype(np.int32),
        wait_s=rng.choice([0.0, 1.0], count),
        retry_uniform=np.full(count, 0.5),
        price_tolerance=rng.choice([1.0, 2.0], count),
    )


def with_tied_controls(rng: np.random.Generator, arrays: FleetArrays, controls: Controls) -> Controls:
    """Whole shares of replicas, few clocks, rates that let a request go every so many ticks."""
    classes, pools = (1, arrays.num_classes), (1, arrays.num_pools)
    return replace(
        controls,
        clock_fraction=rng.choice([0.5, 1.0], pools),
        awake_fraction=rng.integers(0, arrays.replicas + 1, pools) / arrays.replicas,
        admit_rate_rps=rng.choice(RATES_RPS, classes),
        token_price_factor=None if controls.token_price_factor is None else rng.choice([1.0, 2.0], classes),
    )
