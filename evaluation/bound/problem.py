"""From an episode to its fluid relaxation: what requests need at least, and fleets have at most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.layers.ledger import JOULES_PER_KWH
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.evaluation.bound.fluid import FluidProblem
from tokenfleet.evaluation.bound.rates import Least, PoolRates, pool_rates

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SPANS = 12
"""Spans of an episode, at most one a tick."""
KWH_PER_MWH = 1e3
ROUNDING_S = 1e-6
"""Added to limits, for clocks that round."""


def fluid_problem(scenario: Scenario, episode: Episode, spans: int = SPANS) -> FluidProblem:
    """The relaxation of one episode.

    Args:
        scenario: of the fleet.
        episode: as `sample_episode` gave it.
        spans: into how many spans it is cut; more make a lower bound.
    """
    a = FleetArrays.from_scenario(scenario)
    edges = np.unique(np.linspace(0, a.horizon_ticks, min(spans, a.horizon_ticks) + 1).astype(np.int64))
    dark_sites = _may_go_dark(scenario, episode)
    fails = np.full(a.num_pools, scenario.failures is not None)
    rates = pool_rates(scenario, episode, dark_sites[a.site] | fails)
    table = episode.requests
    routes = tuple((p, q if q >= 0 else p) for p, q in enumerate(a.hand_off_to.tolist()))
    length = table.prompt_tokens.astype(np.int64) + table.output_tokens
    allowed = a.route_mask[table.class_id] & (length[:, None] <= a.context_limit_tokens)
    prefill_least_s, decode_least_s = _least_times_s(a, table, [rate.seconds for rate in rates], routes, allowed)
    answer_s = prefill_least_s + decode_least_s
    asked_s = earliest_s(table, answer_s)
    rows = np.flatnonzero(asked_s + answer_s <= scenario.horizon_s + ROUNDING_S)
    value_usd, late_usd = _paid_usd(a, table, rows)
    k, further = table.class_id[rows], table.output_tokens[rows] - 1
    too_long = prefill_least_s[rows] > a.ttft_s[k] + ROUNDING_S
    too_long |= (further > 0) & (decode_least_s[rows] > np.maximum(further, 1) * a.tpot_s[k] + ROUNDING_S)
    too_long |= answer_s[rows] > a.deadline_s[k] + ROUNDING_S
    value_usd = np.where(too_long, late_usd, value_usd)
    windows: dict[str, Any] = _windows(a, table, rows, asked_s[rows], (edges * a.tick_s).astype(np.float64))
    prefill_s, decode_s = _needs(a, table, rows, [rate.seconds for rate in rates])
    prefill_j, decode_j = _needs(a, table, rows, [rate.joules for rate in rates])
    seconds = np.diff(edges)[:, None] * a.tick_s
    model = PowerModel(scenario)
    energy: dict[str, Any] = _energy(a, episode, model, rates, dark_sites, edges)
    most_w = (model.worst_busy_w(np.ones(a.num_pools)) * (1.0 + model.host_power_factor * a.host_w_per_board_w)) + (
        model.host_power_factor * a.host_w
    )
    return FluidProblem(
        value_usd=value_usd,
        late_usd=late_usd,
        kind=table.class_id[rows].astype(np.int64),
        **windows,
        routes=routes,
        allowed=allowed[rows],
        prefill_s=prefill_s,
        decode_s=decode_s,
        prefill_kwh=prefill_j / JOULES_PER_KWH,
        decode_kwh=decode_j / JOULES_PER_KWH,
        replica_s=a.replicas * seconds,
        most_kwh=a.replicas * seconds * most_w / JOULES_PER_KWH,
        site=a.site,
        paid_usd=_agreed_usd(a, episode),
        **energy,
    )


def earliest_s(table: RequestTable, answer_s: Float64Array) -> Float64Array:
    """When each request can be asked for at the earliest, `[R]`: after its predecessors' answers and its wait.

    Args:
        table: the requests.
        answer_s: the least time that each answer takes, `[R]`.
    """
    asked_s = np.where(table.predecessors > 0, 0.0, table.arrival_s)
    missing = table.predecessors.astype(np.int64).copy()
    ready = np.flatnonzero(missing == 0).tolist()
    while ready:
        row = ready.pop()
        for after in table.successors(row).tolist():
            asked_s[after] = max(asked_s[after], asked_s[row] + answer_s[row] + float(table.wait_s[after]))
            missing[after] -= 1
            if missing[after] == 0:
                ready.append(after)
    asked_s[missing > 0] = np.inf  # they wait for calls that never come
    return asked_s


def _least_times_s(
    a: FleetArrays,
    table: RequestTable,
    least: list[Least],
    routes: tuple[tuple[int, int], ...],
    allowed: BoolArray,
) -> tuple[Float64Array, Float64Array]:
    """Least time of each prompt and of each answer after it, alone on the fastest pool, `[R]`; inf where none serves.

    An answer's tokens come one after the other, an iteration of one token or more each.
    """
    prefill_s, decode_s = np.full((2, len(table)), np.inf)
    for route, (p, q) in enumerate(routes):
        fresh, pairs = _fresh(a, table, p)
        one_s = [float((cost.per_iteration + cost.per_token).max()) for cost in (least[p], least[q])]
        prompt_s = np.maximum(least[p].per_token[0] * fresh, one_s[0] * (fresh > 0)) + least[p].per_pair * pairs
        further, context = _generated(table)
        further_s = (one_s[1] + least[q].per_decoded) * further + least[q].per_context * context
        prefill_s = np.where(allowed[:, route], np.minimum(prefill_s, prompt_s), prefill_s)
        decode_s = np.where(allowed[:, route], np.minimum(decode_s, further_s), decode_s)
    return prefill_s, decode_s


def _fresh(a: FleetArrays, table: RequestTable, p: int) -> tuple[Float64Array, Float64Array]:
    """Prompt tokens that a pool has to compute at the least, and their attention pairs, `[R]`."""
    prompt = table.prompt_tokens.astype(np.float64)
    shared = np.maximum(table.reusable_tokens, table.group_tokens).astype(np.float64)
    found = np.minimum(shared, prompt) if a.prefix_block_tokens[p] > 0 else np.zeros_like(prompt)
    fresh = prompt - found
    return fresh, fresh * found + fresh * (fresh + 1.0) / 2.0


def _generated(table: RequestTable) -> tuple[Float64Array, Float64Array]:
    """Tokens after the first, and the context that they attend to in all, `[R]`."""
    further = table.output_tokens.astype(np.float64) - 1.0
    return further, further * table.prompt_tokens + further * (further + 1.0) / 2.0


def _paid_usd(a: FleetArrays, table: RequestTable, rows: IntArray) -> tuple[Float64Array, Float64Array]:
    """Payment of each request in time, and late, at its client's highest factor and with nothing cached."""
    k = table.class_id[rows]
    factor = np.minimum(table.price_tolerance[rows], a.highest_price_factor[k])
    factor = np.where(factor >= a.lowest_price_factor[k], factor, 0.0)
    list_usd = (
        table.prompt_tokens[rows] * a.usd_per_input_token[k] + table.output_tokens[rows] * a.usd_per_output_token[k]
    )
    value_usd: Float64Array = list_usd * factor
    return value_usd, value_usd * a.late_value_fraction[k]


def _windows(
    a: FleetArrays, table: RequestTable, rows: IntArray, asked_s: Float64Array, edges_s: Float64Array
) -> dict[str, IntArray]:
    """Spans in which a request is served in time; a call that waits for others may be made at any later time."""
    k = table.class_id[rows]
    further = table.output_tokens[rows] - 1
    pace_s = np.where(further > 0, np.where(further > 0, further, 1) * a.tpot_s[k], 0.0)
    prefilled_s = asked_s + np.minimum(a.ttft_s[k], a.deadline_s[k]) + ROUNDING_S
    decoded_s = asked_s + np.minimum(a.ttft_s[k] + pace_s, a.deadline_s[k]) + ROUNDING_S
    waits = table.predecessors[rows] > 0

    def span(time_s: Float64Array) -> IntArray:
        return np.clip(np.searchsorted(edges_s, time_s, side="right") - 1, 0, len(edges_s) - 2)

    def last(time_s: Float64Array) -> IntArray:
        return np.where(waits, len(edges_s) - 2, span(time_s))

    return {"first": span(asked_s), "last_prefill": last(prefilled_s), "last_decode": last(decoded_s)}


def _needs(
    a: FleetArrays, table: RequestTable, rows: IntArray, least: list[Least]
) -> tuple[Float64Array, Float64Array]:
    """What prefill and decoding of each request cost on each pool by each line, `[R, P, L]` twice.

    The iterations that decoding takes are bounded by the batch, and without a prefix cache by the KV cache too.
    """
    further, context = (values[rows] for values in _generated(table))
    prefill, decode = [], []
    for p, cost in enumerate(least):
        caches = bool(a.prefix_block_tokens[p] > 0)
        fresh, pairs = (values[rows] for values in _fresh(a, table, p))
        by_batch = further / float(a.max_batch[p])
        most_tokens = max(float(a.kv_tokens[p]), float(a.switched.kv_tokens[p]))
        by_memory = by_batch if caches else context / most_tokens
        lines = [(cost.per_token[0], np.zeros_like(fresh))]
        for intercept, slope in zip(cost.per_iteration[1:], cost.per_token[1:], strict=True):
            lines += [(slope, intercept * by_batch), (slope, intercept * by_memory)]
        prefill.append(np.stack([slope * fresh + cost.per_pair * pairs for slope, _ in lines], axis=1))
        own = cost.per_decoded * further + cost.per_context * context
        decode.append(np.stack([slope * further + iterations + own for slope, iterations in lines], axis=1))
    return np.stack(prefill, axis=1), np.stack(decode, axis=1)


def _energy(
    a: FleetArrays, episode: Episode, model: PowerModel, rates: list[PoolRates], dark: BoolArray, edges: IntArray
) -> dict[str, Float64Array]:
    """Each site's power at rest and its cap, its prices, its sun, its battery and its training jobs."""
    tick_s, start = a.tick_s, edges[:-1]
    at_site = np.eye(a.num_sites)[a.site]
    rest_w = (a.replicas * np.array([rate.rest_w for rate in rates])) @ at_site
    rest_w = rest_w + np.where(dark, 0.0, a.training_jobs * a.training_idle_w)
    base_w = episode.pue * rest_w + np.where(dark, 0.0, episode.fixed_w)
    base_j = np.add.reduceat(base_w, start, axis=0) * tick_s
    ticks = np.diff(edges)[:, None]
    has_battery = a.battery >= 0
    battery_w = np.where(has_battery, a.battery_limit_w, 0.0)
    stored = np.stack([a.battery_lowest_j, a.battery_highest_j, a.battery_initial_j])
    energy_j = {
        "base": base_j,
        "solar": np.add.reduceat(episode.solar_w, start, axis=0) * tick_s,
        "most_grid": np.maximum(_most_grid_j(a, episode, model, battery_w, edges), base_j),
        "battery": battery_w * tick_s * ticks,
        "stored": np.where(has_battery, stored, 0.0),
    }
    return {
        **{f"{name}_kwh": values / JOULES_PER_KWH for name, values in energy_j.items()},
        "training_s": a.training_jobs * tick_s * ticks,
        "training_usd_per_s": a.training_usd_per_s,
        "training_kwh_per_s": np.maximum(a.training_busy_w - a.training_idle_w, 0.0) / JOULES_PER_KWH,
        "pue": np.minimum.reduceat(episode.pue, start, axis=0),
        "usd_per_kwh": np.minimum.reduceat(episode.price_usd_per_mwh, start, axis=0) / KWH_PER_MWH,
        "efficiency": np.where(has_battery, [a.battery_charge_efficiency, a.battery_discharge_efficiency], 1.0),
    }


def _most_grid_j(
    a: FleetArrays, episode: Episode, model: PowerModel, battery_w: Float64Array, edges: IntArray
) -> Float64Array:
    """The most that each site can draw in a span, `[T, S]` [J]: see *Caps* in docs/bound.md."""
    sites, tick_s = a.num_sites, a.tick_s
    own = slice(0, sites)
    most_w = model.worst_site_w(np.ones(a.num_pools), a.replicas) + battery_w
    held = np.maximum(a.brake_clock_fraction[own][a.site], a.clock_floor_fraction)
    held_w = model.worst_site_w(held, a.replicas) + battery_w
    longest_s = np.zeros(sites)
    np.maximum.at(longest_s, a.site, model.longest_iteration_s() + (a.clock_latency_ticks + 3) * tick_s)
    slack_s = a.brake_delay_s[own] + a.control_lag_ticks[own] * tick_s + longest_s
    below_s = np.minimum(a.release_delay_s[own], a.restart_s[own])
    ratio = a.recovery_ratio[own]
    share = (slack_s + ratio * below_s) / np.maximum(slack_s + (1.0 + ratio) * below_s, 1e-12)
    start, seconds = edges[:-1], np.diff(edges)[:, None] * tick_s
    above_s = share * seconds + slack_s + a.meter_window_ticks[own] * tick_s
    below_w = np.minimum(np.maximum(episode.brake_cap_w, held_w), most_w)
    kept_j = np.add.reduceat(below_w, start, axis=0) * tick_s
    lowest_w = np.minimum.reduceat(below_w, start, axis=0)
    most_j: Float64Array = np.minimum(kept_j + above_s * (most_w - lowest_w), most_w * seconds)
    return most_j


def _may_go_dark(scenario: Scenario, episode: Episode) -> BoolArray:
    """Sites of which a breaker may trip, `[S]`: their pools may draw nothing for a while."""
    a, model = FleetArrays.from_scenario(scenario), PowerModel(scenario)
    full = np.ones(a.num_pools)
    battery_w = np.where(a.battery >= 0, a.battery_limit_w, 0.0)
    carried_w = a.pickup_ratio[: a.num_sites] * episode.rating_w.min(axis=0)
    dark: BoolArray = model.worst_site_w(full, a.replicas) + battery_w > carried_w
    row_w = a.pickup_ratio[a.num_sites :] * episode.row_rating_w.min(axis=0)
    trips = model.worst_row_w(full, a.replicas) > row_w
    behind = model.is_behind_row[:, trips].any(axis=1)
    dark[a.site[behind]] = True
    return dark


def _agreed_usd(a: FleetArrays, episode: Episode) -> float:
    """What agreements pay at most: all on offer, all that is called delivered, the signal followed to the letter."""
    total = 0.0
    for s in range(a.num_sites):
        horizon_s = a.horizon_ticks * a.tick_s
        if (programme := int(a.programme[s])) >= 0:
            total += float(a.availability_usd_per_s[s]) * horizon_s
            called_j = float(episode.called_w[:, programme].sum()) * a.tick_s
            total += float(a.activation_usd_per_j[s]) * called_j
        if (regulation := int(a.regulation[s])) >= 0:
            signal = episode.regulation_signal[:, regulation]
            total += float(a.regulation_usd_per_s[s]) * horizon_s
            total += float(a.regulation_usd_per_mileage[s]) * float(np.abs(np.diff(signal, prepend=0.0)).sum())
    return total
