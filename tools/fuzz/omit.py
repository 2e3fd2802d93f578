"""Instances with less in them, so that a counter-example is small enough to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.engine.instances import Instance
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.course import LIMITS
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.gpu.failures import FailureTable
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.traces import DEFAULTS, RequestTable

NO_CAP_W = 1e12


def first_ticks(instance: Instance, ticks: int) -> Instance:
    """The first ticks of the episode."""
    ticks = min(ticks, instance.arrays.horizon_ticks)
    names = [declared.name for declared in quantities_of(Episode) if declared.axis.startswith("H")]
    course: dict[str, Any] = {name: getattr(instance.episode, name)[:ticks] for name in names}
    failures = instance.episode.failures
    kept = failures.tick < ticks
    episode = replace(
        instance.episode,
        **course,
        exogenous=instance.episode.exogenous[: ticks + 1],
        failures=FailureTable(failures.tick[kept], failures.replica[kept], failures.repaired_s[kept]),
    )
    return Instance(replace(instance.arrays, horizon_ticks=ticks), episode, instance.controls[:ticks])


def only_rows(instance: Instance, rows: Sequence[int]) -> Instance:
    """Some requests; a call that waits for an omitted one is omitted too."""
    requests = instance.episode.requests
    kept = np.zeros(len(requests), np.bool_)
    kept[[row for row in rows if row < len(requests)]] = True
    caller = np.repeat(np.arange(len(requests)), np.diff(requests.successor_start))
    edges = np.stack([caller, requests.successor], axis=1)
    while (orphan := kept[edges[:, 1]] & ~kept[edges[:, 0]]).any():
        kept[edges[orphan, 1]] = False
    place = np.cumsum(kept) - 1
    columns = ("arrival_s", "prompt_tokens", "output_tokens", *DEFAULTS)
    table = RequestTable.of(
        edges=place[edges[kept[edges].all(axis=1)]],
        **{name: np.ascontiguousarray(getattr(requests, name)[kept]) for name in columns},
    )
    contexts = instance.episode.contexts
    known = kept[contexts.row] if len(contexts.row) else np.empty(0, np.bool_)
    held = ContextTable(place[contexts.row[known]], contexts.replica[known])
    return replace(instance, episode=replace(instance.episode, requests=table, contexts=held))


def _episode(**changes: Any) -> Callable[[Instance], Instance]:
    return lambda instance: replace(instance, episode=replace(instance.episode, **changes))


def _course(change: Callable[[Episode], dict[str, Any]]) -> Callable[[Instance], Instance]:
    return lambda instance: replace(instance, episode=replace(instance.episode, **change(instance.episode)))


def _requests(*names: str) -> Callable[[Instance], Instance]:
    """Requests with the default in these columns."""

    def plain(instance: Instance) -> Instance:
        table = instance.episode.requests
        columns: dict[str, Any] = {name: np.full(len(table), DEFAULTS[name][1], DEFAULTS[name][0]) for name in names}
        return replace(instance, episode=replace(instance.episode, requests=replace(table, **columns)))

    return plain


def _without_conversations(instance: Instance) -> Instance:
    return OMISSIONS["contexts"](_requests("conversation_id", "reusable_tokens")(instance))


def _controls(change: Callable[[Controls], dict[str, Any]]) -> Callable[[Instance], Instance]:
    return lambda instance: replace(instance, controls=[replace(tick, **change(tick)) for tick in instance.controls])


def _arrays(**values: float) -> Callable[[Instance], Instance]:
    """Fleets with one value in a whole column."""
    return lambda instance: replace(
        instance,
        arrays=replace(
            instance.arrays,
            **{name: np.full_like(getattr(instance.arrays, name), value) for name, value in values.items()},
        ),
    )


OMISSIONS: dict[str, Callable[[Instance], Instance]] = {
    "malformed": lambda instance: instance,
    "caps": _course(lambda e: {name: np.full_like(getattr(e, name), NO_CAP_W) for name in LIMITS}),
    "failures": _episode(failures=FailureTable.none()),
    "contexts": _episode(contexts=ContextTable.none()),
    "sensitivities": _course(lambda e: {"clock_sensitivity_factor": np.ones_like(e.clock_sensitivity_factor)}),
    "solar": _course(lambda e: {"solar_w": np.zeros_like(e.solar_w)}),
    "sleep": _controls(lambda c: {"awake_fraction": np.ones_like(c.awake_fraction)}),
    "clocks": _controls(lambda c: {"clock_fraction": np.ones_like(c.clock_fraction)}),
    "rates": _controls(lambda c: {"admit_rate_rps": np.full_like(c.admit_rate_rps, np.inf)}),
    "shares": _controls(lambda c: {"route_share": np.ones_like(c.route_share)}),
    "battery_power": _controls(lambda c: {"battery_power_w": None}),
    "affinity": _controls(lambda c: {"prefix_affinity": None}),
    "prices": _controls(lambda c: {"token_price_factor": None}),
    "conversations": _without_conversations,
    "groups": _requests("group_id", "group_tokens"),
    "sessions": _requests("session_id"),
    "tolerances": _requests("price_tolerance"),
    "retries": _arrays(max_attempts=1),
    "distances": _arrays(network_s=0.0),
    "deferral": _arrays(deferrable=False),
    "caches": _arrays(prefix_block_tokens=0, host_cache_tokens=0, migrates_prefixes=False),
    "latencies": _arrays(clock_latency_ticks=0, control_lag_ticks=0, wake_s=0.0),
}
"""Part of an instance -> the same instance without it; unlike a `Situation`'s features, nothing else changes."""
