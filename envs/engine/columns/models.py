"""Columns of the models that replicas load: those of the pools' own models, `[P]`, and once more those of variants.

A variant is another model for the boards of the same pool. What depends on the model stands here and is declared once;
`FleetArrays` holds it for the pools' own models among its columns, and for variants as `FleetArrays.variants`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.ticks import MANY_TOKENS
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.quantities import quantity
from tokenfleet.envs.scenario.pools import PoolSpec

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class ModelSource:
    """What the columns of one model on the boards of a pool are read from."""

    spec: PoolSpec
    quality: float

    @property
    def coefficients(self) -> Coefficients:
        """What an iteration of a replica takes."""
        return self.spec.coefficients


def _iteration(name: str) -> Callable[[ModelSource], Any]:
    return lambda pool: getattr(pool.coefficients, name)


@dataclass(frozen=True)
class ModelColumns:
    """Capacity of a replica, its time to load, and the coefficients of its iterations; see `layers.llm.iteration`."""

    kv_tokens: Int64Array = quantity(
        "P",
        "tokens",
        "KV cache of a replica.",
        lambda p: p.spec.kv_capacity_tokens,
        neutral=10_000_000,
        low=1,
        high=MANY_TOKENS,
    )
    watermark_tokens: Int64Array = quantity(
        "P",
        "tokens",
        "Left free by an admission while others run.",
        lambda p: p.spec.watermark_tokens,
        low=0,
        high=MANY_TOKENS,
    )
    host_cache_tokens: Int64Array = quantity(
        "P",
        "tokens",
        "What a replica's host memory holds of prefixes.",
        lambda p: p.spec.host_cache_tokens,
        low=0,
        high=MANY_TOKENS,
    )
    host_load_s: Float64Array = quantity(
        "P", "s/token", "To take a token back from there.", lambda p: p.spec.host_load_s
    )
    window_tokens: Int64Array = quantity(
        "P",
        "tokens",
        "Sliding window of the layers that have one; 0 without.",
        lambda p: p.spec.model_spec.sliding_window or 0,
        low=0,
        high=MANY_TOKENS,
    )
    window_ratio: Float64Array = quantity(
        "P",
        "",
        "Layers with a sliding window for each that sees the whole context.",
        lambda p: p.spec.model_spec.window_ratio,
    )
    load_s: Float64Array = quantity("P", "s", "To load the model on a server that runs.", lambda p: p.spec.load_s)
    wake_s: Float64Array = quantity("P", "s", "From asleep to awake.", lambda p: p.spec.wake_s)
    resume_s: Float64Array = quantity("P", "s", "From standing by to awake.", lambda p: p.spec.resume_s)
    host_s: Float64Array = quantity("P", "s", "Per iteration, whatever the clock.", _iteration("host_s"))
    token_s: Float64Array = quantity("PJ", "s", "Of an iteration that computes so many tokens.", _iteration("token_s"))
    token_memory_share: Float64Array = quantity(
        "PJ", "", "Share of `token_s` that is memory-bound.", _iteration("token_memory_share")
    )
    decode_s: Float64Array = quantity("P", "s", "Per decoding sequence.", _iteration("decode_s"))
    context_s: Float64Array = quantity(
        "P", "s", "Per token of context of the decoding sequences.", _iteration("context_s")
    )
    mixed_context_s: Float64Array = quantity(
        "P", "s", "Added to that where prompts are prefilled in the same iteration.", _iteration("mixed_context_s")
    )
    prefill_attention_s: Float64Array = quantity(
        "P", "s", "Per (query, key) pair of prefill.", _iteration("prefill_attention_s")
    )
    prefill_memory_fraction: Float64Array = quantity(
        "P", "", "Share of prefill time that the clock does not scale.", _iteration("prefill_memory_fraction")
    )
    work_j: Float64Array = quantity(
        "PJ", "J", "Reading the weights that so many tokens need, times M(F).", _iteration("work_j")
    )
    context_j: Float64Array = quantity("P", "J", "Per token of context read, times its M(F).", _iteration("context_j"))
    token_j: Float64Array = quantity("P", "J", "Per token computed, times V(F)^2.", _iteration("token_j"))
    attention_j: Float64Array = quantity(
        "P", "J", "Per (query, key) pair of prefill, times V(F)^2.", _iteration("attention_j")
    )
    quality: Float64Array = quantity(
        "P",
        "",
        "What an answer is worth, over one of the pool's own model.",
        lambda p: p.quality,
        low=0.0,
        high=1.0,
        neutral=1.0,
    )
