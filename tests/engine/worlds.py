"""Random small worlds for engine tests: arrays, an episode and a tape of controls, all from one integer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tests.engine.site_worlds import battery_columns, counts, node_columns, places, room_columns
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import OUTCOMES, VIEW, Layout
from tokenfleet.envs.layers.failures import FailureTable
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable


@dataclass(frozen=True)
class World:
    """What an engine needs for one episode."""

    arrays: FleetArrays
    episode: Episode
    controls: list[Controls]  # one a tick, for one fleet


def random_world(
    seed: int,
    *,
    load: float = 1.0,
    small_kv: bool = False,
    cap_share: float = 0.7,
    closed_loop: bool = False,
    long_talks: bool = False,
    hand_offs: bool = False,
) -> World:
    """A world with 1-2 sites, 0-2 rows, 1-4 pools, 1-3 classes.

    Args:
        seed: decides everything else.
        load: arrivals per second and replica.
        small_kv: KV caches that hold only a few requests.
        cap_share: caps as a share of what the boards may draw at most.
        closed_loop: calls wait for others, clients are far away and try again, replicas fail.
        long_talks: prefix caches everywhere, too small for the few conversations, each of many calls, that fill them.
        hand_offs: pools that prefill for others.
    """
    rng = np.random.default_rng(seed)
    arrays = _arrays(rng, small_kv, cap_share)
    horizon_s = arrays.horizon_ticks * arrays.tick_s
    requests = _requests(rng, arrays, horizon_s, load)
    if long_talks:
        arrays, requests = _with_small_caches(rng, arrays), _with_long_talks(rng, requests)
    if hand_offs:
        arrays = _with_hand_offs(rng, arrays)
    episode = _episode(rng, arrays, requests, cap_share)
    if closed_loop:
        arrays = _with_clients(rng, arrays)
        episode = replace(episode, requests=_linked(rng, arrays, requests), failures=_failures(rng, arrays))
    return World(arrays, episode, _controls(rng, arrays))


def _arrays(rng: np.random.Generator, small_kv: bool, cap_share: float) -> FleetArrays:
    sites, pools, classes = (int(rng.integers(1, high)) for high in (3, 5, 4))
    rows = int(rng.integers(0, 3))
    battery, solar, room = (places(rng.random(sites) < 0.5) for _ in range(3))
    prices = _price_columns(rng, classes)
    some = {"B": battery, "V": solar, "R": room, "T": prices["priced"]}

    def between(low: float, high: float, size: int = pools) -> np.ndarray:
        return rng.uniform(low, high, size)

    def whole(low: int, high: int, size: int = pools) -> np.ndarray:
        return rng.integers(low, high, size).astype(np.int64)

    def knots(low: float, high: float, slope: float) -> np.ndarray:
        rises = np.diff(TOKEN_KNOTS) * rng.uniform(0, slope, (pools, len(TOKEN_KNOTS) - 1))
        return between(low, high)[:, None] + np.pad(np.cumsum(rises, axis=1), ((0, 0), (1, 0)))

    max_batch = whole(1, 40)
    kv_tokens = whole(300, 3_000) if small_kv else whole(20_000, 200_000)
    kv_grows = rng.random(pools) < 0.5
    prefix_block_tokens = rng.choice([0, 1, 16], pools).astype(np.int64)
    mask = rng.random((classes, pools)) < 0.7
    mask[np.arange(classes), rng.integers(0, pools, classes)] = True
    limits = np.where(rng.random((3, classes)) < 0.3, np.inf, rng.uniform(0.02, 5.0, (3, classes)))
    static_w, floor_w = between(50, 200), between(20, 150)
    limit_w, host_w, replicas = static_w + floor_w + between(5, 400), between(0, 100), whole(1, 4)
    site = np.concatenate([np.arange(min(sites, pools)), whole(0, sites, max(pools - sites, 0))]).astype(np.int64)
    row = np.array([rng.choice([-1, *(w for w in range(rows) if w % sites == s)]) for s in site], dtype=np.int64)
    # The last row feeds its whole site now and then.
    whole_site_row = np.full(pools, -1)
    if rows and rng.random() < 0.5:
        row, whole_site_row = np.where(row == rows - 1, -1, row), np.where(site == (rows - 1) % sites, rows - 1, -1)
    return FleetArrays(
        tick_s=float(rng.choice([0.25, 1.0, 2.0])),
        horizon_ticks=int(rng.integers(8, 25)),
        site=site,
        row=row,
        whole_site_row=whole_site_row,
        replicas=replicas,
        max_batch=max_batch,
        token_budget=max_batch + whole(0, 600),
        clock_latency_ticks=rng.choice([0, 0, 1, 3], pools),
        kv_tokens=kv_tokens,
        kv_grows=kv_grows,
        prefix_block_tokens=prefix_block_tokens,
        **_kv_moves(rng, kv_tokens, prefix_block_tokens > 0),
        host_cache_tokens=np.where(rng.random(pools) < 0.5, 0, rng.integers(0, 2 * kv_tokens)),
        host_load_s=between(0, 1e-5),
        watermark_tokens=(kv_grows * rng.choice([0.0, 0.01, 0.1], pools) * kv_tokens).astype(np.int64),
        wake_s=rng.choice([0.0, 0.5, 3.0], pools),
        host_s=between(0, 0.01),
        token_s=knots(0.0, 0.03, 2e-4),
        token_memory_share=rng.random((pools, len(TOKEN_KNOTS))),
        decode_s=between(0, 3e-4),
        context_s=between(0, 4e-7),
        mixed_context_s=rng.choice([0.0, 3e-7], pools),
        prefill_attention_s=between(0, 1e-8),
        prefill_memory_fraction=between(0, 0.3),
        static_w=static_w,
        floor_w=floor_w,
        work_j=knots(0.0, 5.0, 1e-2),
        context_j=between(0, 1e-4),
        token_j=between(0, 0.05),
        attention_j=between(0, 1e-6),
        core_byte_fraction=between(0.0, 1.0),
        core_context_fraction=between(0.0, 1.0),
        knee_fraction=between(0.1, 1.0),
        shoulder_slope=rng.choice([0.0, 0.3, 0.7, 1.0], pools),
        limit_w=limit_w,
        idle_w=between(20, 50),
        asleep_w=between(1, 10),
        host_w=host_w,
        host_w_per_board_w=rng.choice([0.0, 0.2], pools),
        host_asleep_w=between(0, 5),
        voltage_floor_fraction=between(0.5, 0.9),
        clock_floor_fraction=between(0.2, 0.6),
        route_mask=mask,
        ttft_s=limits[0],
        tpot_s=limits[1],
        deadline_s=limits[2] * 3,
        patience_s=rng.uniform(0.2, 20.0, classes),
        deferrable=rng.random(classes) < 0.3,
        output_weight=whole(1, 300, classes),
        max_attempts=np.ones(classes, np.int64),
        backoff_s=between(0, 2, classes),
        backoff_factor=between(1, 3, classes),
        backoff_jitter=between(0, 1, classes),
        network_s=np.zeros((1, sites)),
        **prices,
        pue=between(1.0, 1.5, sites),
        fixed_w=rng.choice([0.0, 30.0], sites),
        solar=solar,
        **room_columns(rng, room, np.bincount(site, replicas * (limit_w + host_w), sites)),
        **battery_columns(rng, battery),
        **node_columns(rng, sites + rows),
        **layouts(S=sites, W=rows, P=pools, K=classes, L=2, F=1, **counts(some)),
    )


def _kv_moves(rng: np.random.Generator, kv_tokens: np.ndarray, caches: np.ndarray) -> dict[str, np.ndarray]:
    """Distant pools, some of which fetch prefixes; none hands off."""
    pools = len(kv_tokens)
    return {
        "hand_off_to": np.full(pools, -1),
        "takes_over": np.zeros(pools, dtype=bool),
        "migrates_prefixes": caches & (rng.random(pools) < 0.7),
        "context_limit_tokens": kv_tokens,
        "kv_bytes_per_token": rng.choice([131072.0, 327680.0], pools),
        "prompt_token_s": rng.uniform(1e-5, 1e-3, pools),
        "kv_latency_s": rng.choice([0.0, 0.02], (pools, pools)),
        "kv_token_s": rng.uniform(1e-7, 2e-4, (pools, pools)),
    }


def _with_hand_offs(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """About half of the pools hand off to the others, if there are two; some of those take nothing from clients."""
    sends = rng.permutation(arrays.num_pools) < (arrays.num_pools + 1) // 2
    if sends.all():
        return arrays
    hand_off_to = np.where(sends, rng.choice(np.flatnonzero(~sends), arrays.num_pools), -1)
    takes_over = np.isin(np.arange(arrays.num_pools), hand_off_to)
    decodes = np.where(sends, hand_off_to, np.arange(arrays.num_pools))
    decode_only = takes_over & (rng.random(arrays.num_pools) < 0.5)
    mask = arrays.route_mask & ~decode_only
    mask[:, sends] |= ~mask.any(axis=1, keepdims=True)
    return replace(
        arrays,
        kv_grows=arrays.kv_grows | sends,
        hand_off_to=hand_off_to,
        takes_over=takes_over,
        context_limit_tokens=np.minimum(arrays.kv_tokens, arrays.kv_tokens[decodes]),
        kv_token_s=arrays.kv_token_s * rng.choice([0.1, 1.0, 10.0]),
        route_mask=mask,
    )


def _price_columns(rng: np.random.Generator, classes: int) -> dict[str, np.ndarray]:
    """Tokens that cost about a dollar, so that a wrong one is seen; sessions that can afford a few calls."""
    priced = rng.random(classes) < 0.5
    lowest = np.where(priced, rng.uniform(0.5, 1.0, classes), 1.0)
    return {
        "usd_per_input_token": rng.uniform(0.0, 1.0, classes),
        "usd_per_output_token": rng.uniform(0.0, 3.0, classes),
        "cached_input_fraction_of_price": rng.choice([0.1, 1.0], classes),
        "late_value_fraction": rng.uniform(0.0, 1.0, classes),
        "session_budget_usd": rng.choice([300.0, np.inf], classes),
        "lowest_price_factor": lowest,
        "highest_price_factor": np.where(priced, rng.uniform(1.0, 4.0, classes), lowest),
        "priced": places(priced),
    }


def _requests(rng: np.random.Generator, arrays: FleetArrays, horizon_s: float, load: float) -> RequestTable:
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


def _with_small_caches(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    kv_tokens, kv_grows = rng.integers(800, 3_000, arrays.num_pools), rng.random(arrays.num_pools) < 0.8
    return replace(
        arrays,
        kv_tokens=kv_tokens,
        context_limit_tokens=kv_tokens,
        kv_grows=kv_grows,
        watermark_tokens=np.where(kv_grows, kv_tokens // 50, 0),
        prefix_block_tokens=rng.choice([1, 16], arrays.num_pools),
        host_cache_tokens=rng.choice([0, 1_000, 9_000], arrays.num_pools),
    )


def _with_long_talks(rng: np.random.Generator, requests: RequestTable) -> RequestTable:
    count = len(requests)
    return replace(
        requests,
        conversation_id=rng.integers(-1, max(count // 10, 1), count).astype(np.int32),
        reusable_tokens=(requests.prompt_tokens * rng.uniform(0.8, 1.0, count)).astype(np.int32),
    )


def _with_clients(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """Three regions, one of them beside the first site, and clients that try up to three times."""
    network_s = rng.uniform(0.0, 0.3, (3, arrays.num_sites))
    network_s[0, 0] = 0.0
    return replace(arrays, network_s=network_s, max_attempts=rng.integers(1, 4, arrays.num_classes))


def _linked(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable) -> RequestTable:
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


PREFIXES = ("conversation_id", "reusable_tokens", "group_id", "group_tokens")


def _failures(rng: np.random.Generator, arrays: FleetArrays) -> FailureTable:
    count = int(rng.integers(0, 5))
    tick = np.sort(rng.integers(0, arrays.horizon_ticks, count))
    replica = rng.integers(0, arrays.replicas.sum(), count)
    return FailureTable(tick, replica, tick * arrays.tick_s + rng.choice([0.0, 1.0, 3.3], count))


def _episode(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable, cap_share: float) -> Episode:
    horizon, sites = arrays.horizon_ticks, arrays.num_sites
    most_w = np.zeros(sites)
    np.add.at(most_w, arrays.site, arrays.replicas * (arrays.limit_w + arrays.host_w))
    cap_w = np.maximum(most_w * arrays.pue, 1.0) * cap_share * rng.uniform(0.5, 1.2, (horizon, sites))
    pool_most_w, rows = arrays.replicas * (arrays.limit_w + arrays.host_w), np.arange(arrays.num_rows)
    is_behind = (arrays.row[:, None] == rows) | (arrays.whole_site_row[:, None] == rows)
    row_cap_w = np.maximum(pool_most_w @ is_behind, 1.0) * cap_share * rng.uniform(0.5, 1.3, (horizon, len(rows)))
    width = arrays.view.width - arrays.view.offsets["cap_w"]
    return Episode(
        requests=requests,
        cap_w=cap_w,
        rating_w=cap_w * rng.choice([1.0, 1.2], (horizon, sites)),
        row_cap_w=row_cap_w,
        row_rating_w=row_cap_w * rng.choice([1.0, 1.2], (horizon, len(rows))),
        price_usd_per_mwh=np.full((horizon, sites), 60.0),
        carbon_g_per_kwh=np.full((horizon, sites), 400.0),
        outdoor_c=rng.uniform(-10.0, 40.0, (horizon, sites)),
        pue=1.0 + (arrays.pue - 1.0) * rng.uniform(0.3, 1.0, (horizon, sites)),
        fixed_w=arrays.fixed_w * rng.uniform(0.5, 1.0, sites),
        host_power_factor=rng.uniform(0.8, 1.2, sites),
        solar_w=np.where(arrays.solar >= 0, most_w * rng.uniform(0.0, 0.6, (horizon, sites)), 0.0),
        exogenous=rng.uniform(0.5, 1.0, (horizon + 1, width)).astype(np.float32),
        decode_memory_fraction=rng.uniform(0.6, 1.0, arrays.num_pools),
    )


def _controls(rng: np.random.Generator, arrays: FleetArrays) -> list[Controls]:
    classes, pools = arrays.num_classes, arrays.num_pools
    changes_clock, sleeps, throttles, charges, returns, prices = rng.random(6) < 0.7
    tape = []
    for _ in range(arrays.horizon_ticks):
        clock = rng.uniform(0.1, 1.0, (1, pools)) if changes_clock else np.full((1, pools), 0.8)
        awake = rng.choice([0.0, 0.3, 0.7, 1.0, 1.0], (1, pools)) if sleeps else np.ones((1, pools))
        rate = rng.choice([0.0, 0.7, 3.0, np.inf], (1, classes)) if throttles else np.full((1, classes), np.inf)
        share = rng.choice([0.0, 0.2, 1.0], (1, classes, pools))
        battery_power_w = rng.uniform(-800.0, 800.0, (1, arrays.num_sites)) if charges else None
        affinity = rng.choice([0.0, 0.5, 1.0, np.inf], (1, classes)) if returns else None
        price_factor = rng.uniform(0.4, 4.5, (1, classes)) if prices else None
        tape.append(Controls(share, clock, awake, rate, battery_power_w, affinity, price_factor))
    return tape


def one_pool(fixed_s: float = 0.01, token_s: float = 0.001, **changes: object) -> FleetArrays:
    """One site, one pool of one replica, one class without limits; `changes` are scalars or arrays by name.

    Its iteration lasts `fixed_s` plus `token_s` a prefill token (10 and 1 ms) and draws 100 W; idle it draws 40 W; no
    PUE, no servers. Sums on paper are easiest with decoding tokens that cost nothing, so `decode_s` takes back what the
    knots count for them.
    Its breaker carries r times the cap for `trip_heat_s / (r - 1)`.
    """
    values: dict[str, object] = {
        "site": 0,
        "row": -1,
        "whole_site_row": -1,
        "replicas": 1,
        "max_batch": 64,
        "token_budget": 1_000_000,
        "kv_tokens": 10_000_000,
        "clock_latency_ticks": 0,
        "kv_grows": False,
        "watermark_tokens": 0,
        "prefix_block_tokens": 0,
        "host_cache_tokens": 0,
        "host_load_s": 0.0,
        "hand_off_to": -1,
        "takes_over": False,
        "migrates_prefixes": False,
        "context_limit_tokens": changes.get("kv_tokens", 10_000_000),
        "kv_bytes_per_token": 1.0,
        "prompt_token_s": token_s,
        "kv_latency_s": [[0.0]],
        "kv_token_s": [[1e-3]],
        "wake_s": 5.0,
        "host_s": 0.0,
        "token_s": [fixed_s + token_s * np.array(TOKEN_KNOTS)],
        "token_memory_share": np.zeros((1, len(TOKEN_KNOTS))),
        "decode_s": -token_s,
        "context_s": 0.0,
        "mixed_context_s": 0.0,
        "prefill_attention_s": 0.0,
        "prefill_memory_fraction": 0.0,
        "static_w": 100.0,
        "floor_w": 0.0,
        "work_j": np.zeros((1, len(TOKEN_KNOTS))),
        "context_j": 0.0,
        "token_j": 0.0,
        "attention_j": 0.0,
        "core_byte_fraction": 0.0,
        "core_context_fraction": 0.0,
        "knee_fraction": 1.0,
        "shoulder_slope": 1.0,
        "limit_w": 1e9,
        "idle_w": 40.0,
        "asleep_w": 5.0,
        "host_w": 0.0,
        "host_w_per_board_w": 0.0,
        "host_asleep_w": 0.0,
        "voltage_floor_fraction": 0.76,
        "clock_floor_fraction": 0.1,
        "ttft_s": np.inf,
        "tpot_s": np.inf,
        "deadline_s": np.inf,
        "patience_s": np.inf,
        "output_weight": 1,
        "max_attempts": 1,
        "backoff_s": 1.0,
        "backoff_factor": 2.0,
        "backoff_jitter": 0.0,
        "usd_per_input_token": 0.0,
        "usd_per_output_token": 0.0,
        "cached_input_fraction_of_price": 1.0,
        "late_value_fraction": 0.25,
        "session_budget_usd": np.inf,
        "lowest_price_factor": 1.0,
        "highest_price_factor": 1.0,
        "priced": -1,
        "pue": 1.0,
        "fixed_w": 0.0,
        "design_outdoor_c": 35.0,
        "room": -1,
        "room_supply_c": 20.0,
        "room_k_per_w": 0.0,
        "room_response": 1.0,
        "room_limit_c": 30.0,
        "room_release_c": 28.0,
        "derate_clock_fraction": 0.5,
        "solar": -1,
        "battery": -1,
        "battery_limit_w": 0.0,
        "battery_charge_efficiency": 1.0,
        "battery_discharge_efficiency": 1.0,
        "battery_capacity_j": 0.0,
        "battery_lowest_j": 0.0,
        "battery_highest_j": 0.0,
        "battery_initial_j": 0.0,
        "meter_window_ticks": 1,
        "brake_delay_s": 3.0,
        "brake_clock_fraction": 0.25,
        "recovery_ratio": 0.5,
        "release_fraction": 0.9,
        "release_delay_s": 2.0,
        "control_lag_ticks": 0,
        "pickup_ratio": 1.0,
        "trip_exponent": 1.0,
        "trip_heat_s": 1e9,
        "cooling_s": 1e9,
        "restart_s": 4.0,
        **changes,
    }
    integers = {"site", "row", "whole_site_row", "replicas", "max_batch", "token_budget", "kv_tokens", "output_weight"}
    integers |= {"solar", "battery", "room", "meter_window_ticks", "control_lag_ticks", "clock_latency_ticks"}
    integers |= {"max_attempts", "priced", "watermark_tokens", "prefix_block_tokens", "host_cache_tokens"}
    integers |= {"hand_off_to", "context_limit_tokens"}
    flags = dict.fromkeys(("kv_grows", "takes_over", "migrates_prefixes"), np.bool_)
    kinds = {**dict.fromkeys(integers, np.int64), **flags}
    tick_s, horizon_ticks = float(values.pop("tick_s", 1.0)), int(values.pop("horizon_ticks", 20))  # type: ignore[arg-type]
    deferrable = np.array([bool(values.pop("deferrable", False))])
    network_s = np.array([[float(values.pop("network_s", 0.0))]])  # type: ignore[arg-type]
    columns = {name: np.atleast_1d(np.asarray(v, kinds.get(name, np.float64))) for name, v in values.items()}
    some = {axis: columns[name] for axis, name in {"B": "battery", "V": "solar", "R": "room", "T": "priced"}.items()}
    return FleetArrays(
        tick_s=tick_s,
        horizon_ticks=horizon_ticks,
        route_mask=np.ones((1, 1), dtype=bool),
        deferrable=deferrable,
        network_s=network_s,
        **layouts(S=1, P=1, K=1, **counts(some)),
        **columns,  # type: ignore[arg-type]
    )


def two_pools(sites: int = 1, **changes: object) -> FleetArrays:
    """Two pools like that of `one_pool`, at one site or each at its own; `changes` are arrays `[2]` or `[2, 2]`."""
    single = one_pool()
    names = list(FleetArrays.__dataclass_fields__)
    of_pools = names[names.index("site") : names.index("route_mask")]
    of_sites = names[names.index("pue") : names.index("view")]
    doubled = {name: np.repeat(getattr(single, name), 2, axis=0) for name in of_pools}
    doubled |= {name: np.repeat(doubled[name], 2, axis=1) for name in ("kv_latency_s", "kv_token_s")}
    doubled |= {name: np.repeat(getattr(single, name), sites, axis=0) for name in of_sites}
    doubled["network_s"] = np.repeat(single.network_s, sites, axis=1)
    doubled["site"] = np.arange(2) % sites
    doubled["route_mask"] = np.ones((1, 2), dtype=bool)
    doubled |= {name: np.asarray(value, doubled[name].dtype) for name, value in changes.items()}
    return replace(single, **doubled, **layouts(S=sites, P=2, K=1))


def layouts(**sizes: int) -> dict[str, Layout]:
    """View and outcome of a fleet with so many of everything; 0 of what is not said."""
    every = {**dict.fromkeys("SWRBVPKTLF", 0), **sizes}
    return {"view": Layout(VIEW, every), "outcome": Layout(OUTCOMES, every)}


def plain_episode(
    arrays: FleetArrays,
    requests: RequestTable,
    cap_w: float | np.ndarray = 1e12,
    row_cap_w: float | np.ndarray = 1e12,
) -> Episode:
    """An episode of `requests` under constant caps of sites and rows, or ones of `[H]` watts."""
    horizon, sites = arrays.horizon_ticks, arrays.num_sites

    def through_time(limit_w: float | np.ndarray, count: int) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(limit_w, float).reshape(-1, 1), (horizon, count)))

    caps, row_caps = through_time(cap_w, sites), through_time(row_cap_w, arrays.num_rows)
    width = arrays.view.width - arrays.view.offsets["cap_w"]
    return Episode(
        requests=requests,
        cap_w=caps,
        rating_w=caps,
        row_cap_w=row_caps,
        row_rating_w=row_caps,
        price_usd_per_mwh=np.zeros((horizon, sites)),
        carbon_g_per_kwh=np.zeros((horizon, sites)),
        outdoor_c=np.full((horizon, sites), 15.0),
        pue=np.tile(arrays.pue, (horizon, 1)),
        fixed_w=arrays.fixed_w,
        host_power_factor=np.ones(sites),
        solar_w=np.zeros((horizon, sites)),
        exogenous=np.ones((horizon + 1, width), np.float32),
        decode_memory_fraction=np.zeros(arrays.num_pools),
    )
