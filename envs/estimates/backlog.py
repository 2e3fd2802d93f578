"""How long pools need for the work that they have: the backlog that routing and admission respond to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.service_model import ServiceModel, TokenCosts
from tokenfleet.envs.layers.gpu import clock_stretch
from tokenfleet.envs.rows import Record

Float64Array = NDArray[np.float64]

BACKLOG_FIELDS = (
    *("waiting_requests", "running_requests", "unprefilled_tokens"),
    *("awake_replicas", "variant_replicas", "clock_fraction"),
)
"""Fields of the view that `backlog_seconds` reads."""


def backlog_seconds(service: ServiceModel, view: Record) -> Float64Array:
    """How long each pool's awake replicas need for the work that the pool has, `[N, P]` [s]; inf where none is awake.

    The work of a pool is the replica time that it still owes, at the clock in force. Unprefilled tokens count at the
    pool's cost of a prompt token. All output tokens of waiting requests, and half of those of running requests, count
    at the pool's cost of an output token at full batch. Where replicas serve a variant, the costs are means over both
    models.
    """
    work_s, awake = _work_s(service, service.costs, view), np.rint(view["awake_replicas"])
    if service.switched_costs is not None:
        has = service.power.arrays.variant >= 0
        share = np.rint(view["variant_replicas"]) / np.maximum(awake[:, has], 1.0)
        switched_s = _work_s(service, service.switched_costs, view)[:, has]
        work_s[:, has] += share * (switched_s - work_s[:, has])
    return np.where(awake > 0.0, work_s / np.maximum(awake, 1.0), np.inf)


def _work_s(service: ServiceModel, costs: TokenCosts, view: Record) -> Float64Array:
    """Replica time that pools still owe, by the costs of one model, `[N, P]` [s]."""
    clock = view["clock_fraction"]
    prefill = clock_stretch(clock, costs.prefill_memory_fraction)
    decode = clock_stretch(clock, costs.decode_memory_fraction)
    answers = view["waiting_requests"] + 0.5 * view["running_requests"]
    work_s: Float64Array = view["unprefilled_tokens"] * costs.prompt_s * prefill
    work_s += answers * service.pool_output_tokens * costs.output_s * decode
    return work_s


def class_backlog_seconds(pool_backlog_s: Float64Array, route_mask: NDArray[np.bool_]) -> Float64Array:
    """The shortest backlog of the pools that serve each class, `[N, K]` [s]; inf where none of them is awake.

    Args:
        pool_backlog_s: `[N, P]`.
        route_mask: which pools serve which class, `[K, P]`.
    """
    met: Float64Array = np.where(route_mask, pool_backlog_s[:, None, :], np.inf).min(axis=2)
    return met


def least_work_weights(
    backlog_s: Float64Array, spread_s: float | Float64Array, capacity_rps: Float64Array, awake_share: Float64Array
) -> Float64Array:
    """Weights of routes, `[N, K, P]`: how far a backlog lies below the least one plus `spread_s`, times capacity.

    Join the shortest queue, the classic rule (W. Winston, "Optimality of the shortest line discipline", J. Appl. Prob.
    14, 1977, doi:10.1017/s0021900200104772), sends everything to one pool. A decision that holds for a whole tick would
    only move the queue that way, hence the spread.

    Args:
        backlog_s: backlog of each pool as each class counts it, `[N, K, P]` [s]; inf where no request of it can go.
        spread_s: backlog above the least one at which a weight reaches 0, a number or `[N, K, 1]` [s].
        capacity_rps: what each pool could serve of each class, `[K, P]`.
        awake_share: awake replicas of each pool over all of them, `[N, P]`.
    """
    least_s = backlog_s.min(axis=2, keepdims=True)
    slack_s = np.where(np.isfinite(least_s), least_s, 0.0) + spread_s - backlog_s
    weights: Float64Array = np.maximum(slack_s, 0.0) * capacity_rps * awake_share[:, None, :]
    return weights


def admission_rates_rps(
    met_s: Float64Array,
    limit_s: Float64Array,
    capacity_rps: Float64Array,
    awake_share: Float64Array,
    tick_s: float,
) -> Float64Array:
    """Rate of each class in the coming tick at which its backlog ends at its limit, `[N, K]` [requests/s].

    Args:
        met_s: the shortest backlog of each class, `[N, K]` [s].
        limit_s: `[N, K]`, infinity for no limit [s].
        capacity_rps: what each pool could serve of each class, `[K, P]`.
        awake_share: awake replicas of each pool over all of them, `[N, P]`.
        tick_s: a tick [s].
    """
    awake_rps = (capacity_rps * awake_share[:, None, :]).sum(axis=2)
    slack_s = np.maximum(np.where(np.isinf(limit_s), 0.0, limit_s) + tick_s - met_s, 0.0)
    return np.where(np.isinf(limit_s), np.inf, awake_rps * slack_s / tick_s)
