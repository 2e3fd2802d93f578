"""Random fleets for engine tests: every column of `FleetArrays`, and what may be added to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.engine.charge_columns import agreement_columns, charge_columns
from tests.engine.site_columns import battery_columns, counts, node_columns, places, room_columns
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.llm import TOKEN_KNOTS


def random_fleet(rng: np.random.Generator, small_kv: bool) -> FleetArrays:
    """1-2 sites, 0-2 rows, 1-4 pools, 1-3 classes; what is drawn first decides what a seed means."""
    sites, pools, classes = (int(rng.integers(1, high)) for high in (3, 5, 4))
    rows = int(rng.integers(0, 3))
    battery, solar, room = (places(rng.random(sites) < 0.5) for _ in range(3))
    prices, standby = _price_columns(rng, classes), places(rng.random(pools) < 0.5)
    training = _training(rng, sites)
    memory = _memory(rng, pools, small_kv)
    max_batch, kv_tokens = memory["max_batch"], memory["kv_tokens"]
    rules = _class_rules(rng, classes, pools)
    power = _power(rng, pools)
    most_w = power["replicas"] * (power["limit_w"] + power["host_w"])
    position = _positions(rng, sites, rows, pools)
    money_rng = rng.spawn(1)[0]
    money = charge_columns(money_rng, np.bincount(position["site"], most_w, sites))
    money |= agreement_columns(money_rng, classes)
    unsteady = places(money_rng.random(pools) < 0.3)
    some = {"B": battery, "V": solar, "R": room, "T": prices["priced"], "M": money["charges"], "C": money["programme"]}
    some |= {"U": money["regulation"], "Q": money["agreement"], "p": standby, "s": training["training"], "k": unsteady}
    sizes = {"S": sites, "W": rows, "P": pools, "K": classes, "L": 2, "F": 1, **counts(some)}
    return FleetArrays.neutral(
        float(rng.choice([0.25, 1.0, 2.0])),
        int(rng.integers(8, 25)),
        sizes,
        token_budget=max_batch + rng.integers(0, 600, pools),
        clock_latency_ticks=rng.choice([0, 0, 1, 3], pools),
        **memory,
        **_kv_moves(rng, kv_tokens, memory["prefix_block_tokens"] > 0),
        host_cache_tokens=np.where(rng.random(pools) < 0.5, 0, rng.integers(0, 2 * kv_tokens)),
        host_load_s=rng.uniform(0, 1e-5, pools),
        **_windows(rng, pools),
        watermark_tokens=(memory["kv_grows"] * rng.choice([0.0, 0.01, 0.1], pools) * kv_tokens).astype(np.int64),
        wake_s=rng.choice([0.0, 0.5, 3.0], pools),
        standby=standby,
        unsteady=unsteady,
        resume_s=rng.choice([0.0, 0.4, 1.0], pools),
        **_times(rng, pools),
        **power,
        **_work(rng, pools),
        **_idle_power(rng, pools),
        **rules,
        **_ranks(rng, max_batch, classes),
        **training,
        **_clients(rng, classes),
        **prices,
        **position,
        pue=rng.uniform(1.0, 1.5, sites),
        fixed_w=rng.choice([0.0, 30.0], sites),
        solar=solar,
        **room_columns(rng, room, np.bincount(position["site"], most_w, sites)),
        **battery_columns(rng, battery),
        **node_columns(rng, sites + rows),
        **money,
    )


def _memory(rng: np.random.Generator, pools: int, small_kv: bool) -> dict[str, np.ndarray]:
    return {
        "max_batch": rng.integers(1, 40, pools),
        "kv_tokens": rng.integers(300, 3_000, pools) if small_kv else rng.integers(20_000, 200_000, pools),
        "kv_grows": rng.random(pools) < 0.5,
        "prefix_block_tokens": rng.choice([0, 1, 16], pools).astype(np.int64),
    }


def _class_rules(rng: np.random.Generator, classes: int, pools: int) -> dict[str, np.ndarray]:
    """At least one pool for every class, and limits in time for most."""
    mask = rng.random((classes, pools)) < 0.7
    mask[np.arange(classes), rng.integers(0, pools, classes)] = True
    limits = np.where(rng.random((3, classes)) < 0.3, np.inf, rng.uniform(0.02, 5.0, (3, classes)))
    return {"route_mask": mask, "ttft_s": limits[0], "tpot_s": limits[1], "deadline_s": limits[2] * 3}


def _power(rng: np.random.Generator, pools: int) -> dict[str, np.ndarray]:
    """How many replicas there are, and what boards draw awake and at most."""
    static_w, floor_w = rng.uniform(50, 200, pools), rng.uniform(20, 150, pools)
    return {
        "static_w": static_w,
        "floor_w": floor_w,
        "limit_w": static_w + floor_w + rng.uniform(5, 400, pools),
        "host_w": rng.uniform(0, 100, pools),
        "replicas": rng.integers(1, 4, pools),
    }


def _positions(rng: np.random.Generator, sites: int, rows: int, pools: int) -> dict[str, np.ndarray]:
    """The site of every pool, and its row, if it has one."""
    elsewhere = rng.integers(0, sites, max(pools - sites, 0))
    site = np.concatenate([np.arange(min(sites, pools)), elsewhere]).astype(np.int64)
    row = np.array([rng.choice([-1, *(w for w in range(rows) if w % sites == s)]) for s in site], dtype=np.int64)
    # The last row feeds its whole site now and then.
    whole_site_row = np.full(pools, -1)
    if rows and rng.random() < 0.5:
        row, whole_site_row = np.where(row == rows - 1, -1, row), np.where(site == (rows - 1) % sites, rows - 1, -1)
    return {"site": site, "row": row, "whole_site_row": whole_site_row}


def _knots(rng: np.random.Generator, pools: int, low: float, high: float, slope: float) -> np.ndarray:
    rises = np.diff(TOKEN_KNOTS) * rng.uniform(0, slope, (pools, len(TOKEN_KNOTS) - 1))
    return rng.uniform(low, high, pools)[:, None] + np.pad(np.cumsum(rises, axis=1), ((0, 0), (1, 0)))


def _times(rng: np.random.Generator, pools: int) -> dict[str, np.ndarray]:
    """What an iteration takes at full clock."""
    return {
        "host_s": rng.uniform(0, 0.01, pools),
        "token_s": _knots(rng, pools, 0.0, 0.03, 2e-4),
        "token_memory_share": rng.random((pools, len(TOKEN_KNOTS))),
        "decode_s": rng.uniform(0, 3e-4, pools),
        "context_s": rng.uniform(0, 4e-7, pools),
        "mixed_context_s": rng.choice([0.0, 3e-7], pools),
        "prefill_attention_s": rng.uniform(0, 1e-8, pools),
        "prefill_memory_fraction": rng.uniform(0, 0.3, pools),
    }


def _work(rng: np.random.Generator, pools: int) -> dict[str, np.ndarray]:
    """The joules of an iteration, and how boards near their limit."""
    return {
        "work_j": _knots(rng, pools, 0.0, 5.0, 1e-2),
        "context_j": rng.uniform(0, 1e-4, pools),
        "token_j": rng.uniform(0, 0.05, pools),
        "attention_j": rng.uniform(0, 1e-6, pools),
        "core_byte_fraction": rng.uniform(0.0, 1.0, pools),
        "core_context_fraction": rng.uniform(0.0, 1.0, pools),
        "knee_fraction": rng.uniform(0.1, 1.0, pools),
        "shoulder_slope": rng.choice([0.0, 0.3, 0.7, 1.0], pools),
    }


def _idle_power(rng: np.random.Generator, pools: int) -> dict[str, np.ndarray]:
    """What boards and hosts draw without work, and how far clocks and voltages go down."""
    return {
        "idle_w": rng.uniform(20, 50, pools),
        "asleep_w": rng.uniform(1, 10, pools),
        "host_w_per_board_w": rng.choice([0.0, 0.2], pools),
        "host_asleep_w": rng.uniform(0, 5, pools),
        "standby_w": rng.uniform(5, 30, pools),
        "host_standby_w": rng.uniform(3, 20, pools),
        "voltage_floor_fraction": rng.uniform(0.5, 0.9, pools),
        "clock_floor_fraction": rng.uniform(0.2, 0.6, pools),
    }


def _clients(rng: np.random.Generator, classes: int) -> dict[str, np.ndarray]:
    """Patience and retries; `with_clients` lets clients try more than once."""
    return {
        "patience_s": rng.uniform(0.2, 20.0, classes),
        "deferrable": rng.random(classes) < 0.3,
        "output_weight": rng.integers(1, 300, classes),
        "max_attempts": np.ones(classes, np.int64),
        "backoff_s": rng.uniform(0, 2, classes),
        "backoff_factor": rng.uniform(1, 3, classes),
        "backoff_jitter": rng.uniform(0, 1, classes),
    }


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


def _ranks(rng: np.random.Generator, max_batch: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Some pools rank classes, and keep seats for some of them, but one at least for all."""
    pools = len(max_batch)
    most = np.maximum(max_batch - 1, 0)[:, None] // classes
    return {
        "ranks_classes": rng.random(pools) < 0.5,
        "priority": rng.integers(0, 3, classes),
        "reserved_seats": rng.integers(0, most + 1, (pools, classes)) * (rng.random((pools, classes)) < 0.5),
    }


def _training(rng: np.random.Generator, sites: int) -> dict[str, np.ndarray]:
    """Training jobs at some sites."""
    idle_w = rng.uniform(5.0, 60.0, sites)
    return {
        "training": places(rng.random(sites) < 0.4),
        "training_jobs": rng.integers(1, 4, sites),
        "training_busy_w": idle_w + rng.uniform(0.0, 200.0, sites),
        "training_idle_w": idle_w,
        "training_usd_per_s": rng.uniform(0.0, 2.0, sites),
        "checkpoint_interval_s": rng.choice([0.3, 1.0, 7.7], sites),
        "checkpoint_s": rng.choice([0.0, 0.4, 1.5], sites),
        "training_resume_s": rng.choice([0.0, 0.7, 2.0], sites),
    }


def _windows(rng: np.random.Generator, pools: int) -> dict[str, np.ndarray]:
    """Sliding windows in some pools."""
    window_tokens = rng.choice([0, 0, 20, 300], pools).astype(np.int64)
    return {"window_tokens": window_tokens, "window_ratio": (window_tokens > 0) * rng.uniform(0.2, 5.0, pools)}


def with_hand_offs(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
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


def with_small_caches(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
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


def with_clients(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """Three regions, one of them beside the first site, and clients that try up to three times."""
    network_s = rng.uniform(0.0, 0.3, (3, arrays.num_sites))
    network_s[0, 0] = 0.0
    upload_token_s = rng.choice([0.0, 1e-5], 3)
    return replace(
        arrays, network_s=network_s, upload_token_s=upload_token_s, max_attempts=rng.integers(1, 4, arrays.num_classes)
    )
