"""What the policy sees of pools and request classes."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.activity import State
from tokenfleet.envs.engine.reference.admission import Admission
from tokenfleet.envs.engine.reference.billing import Billing
from tokenfleet.envs.engine.reference.clients import Clients
from tokenfleet.envs.engine.reference.replica import Replica
from tokenfleet.envs.rows import Record


def write_pool(view: Record, a: FleetArrays, p: int, pool: list[Replica]) -> None:
    """What the replicas of pool `p` hold now."""
    requests = [request for replica in pool for request in replica.requests]
    waiting = sum(len(replica.waiting) for replica in pool)
    view["waiting_requests"][0, p] = waiting
    view["running_requests"][0, p] = len(requests) - waiting
    view["unprefilled_tokens"][0, p] = sum(replica.unprefilled_tokens for replica in pool)
    capacity = float(sum(replica.limits.kv_tokens for replica in pool))
    view["kv_reserved_fraction"][0, p] = sum(replica.kv_used for replica in pool) / capacity
    view["cached_fraction"][0, p] = sum(replica.cache.tokens for replica in pool) / capacity
    for name, state in (("awake", State.AWAKE), ("waking", State.WAKING), ("failed", State.FAILED)):
        view[f"{name}_replicas"][0, p] = sum(replica.state is state for replica in pool)
    if a.standby[p] >= 0:
        view["waking_replicas"][0, p] += sum(replica.state is State.RESUMING for replica in pool)
        for name, state in (("standby", State.STANDBY), ("preparing", State.PREPARING)):
            view[f"{name}_replicas"][0, a.standby[p]] = sum(replica.state is state for replica in pool)
    if a.variant[p] >= 0:
        serving = sum(replica.state is State.AWAKE and replica.on_variant for replica in pool)
        view["variant_replicas"][0, a.variant[p]] = serving
        view["switching_replicas"][0, a.variant[p]] = sum(replica.state is State.SWITCHING for replica in pool)


def write_classes(
    view: Record, a: FleetArrays, outcome: Record, clients: Clients, admission: Admission, billing: Billing
) -> None:
    """Requests of every class: their present states, and endings in the tick."""
    for k in range(a.num_classes):
        view["held_requests"][0, k] = len(admission.held[k])
        view["thinking_calls"][0, k] = clients.thinking[k]
        view["away_requests"][0, k] = clients.away[k]
        if a.priced[k] >= 0:
            view["token_price_factor"][0, a.priced[k]] = billing.factor[k]
            view["declined"][0, a.priced[k]] = outcome["declined"][0, k]
    for name in ("arrived", "completed_in_slo", "completed_late", "refused", "expired", "retries"):
        view[name][:] = outcome[name]
    view["ttft_mean_s"][:] = outcome["ttft_sum_s"] / np.maximum(outcome["first_tokens"], 1.0)
