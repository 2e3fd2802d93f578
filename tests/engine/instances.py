"""Random small instances for engine tests and the fuzz: arrays, an episode and a tape of controls, from one integer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.engine.charge_columns import random_calls
from tests.engine.random_fleets import random_fleet, with_clients, with_hand_offs, with_small_caches
from tests.engine.random_requests import linked, random_contexts, random_failures, random_requests, with_long_talks
from tests.engine.ties import on_ticks, with_tied_controls, with_tied_limits
from tests.engine.variant_columns import with_switches, with_variants
from tests.engine.widest import SHORT_TICK_S, with_huge_requests, with_late_requests, with_long_clock, with_room_for_all
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import neutral_arrays
from tokenfleet.envs.traces import RequestTable


@dataclass(frozen=True)
class Instance:
    """What an engine needs for one episode."""

    arrays: FleetArrays
    episode: Episode
    controls: list[Controls]  # one a tick, for one fleet


@dataclass(frozen=True)
class Situation:
    """What a random instance is like; the seed decides everything else.

    Attributes:
        load: arrivals per second and replica.
        small_kv: KV caches that hold only a few requests.
        cap_share: caps as a share of what the boards may draw at most.
        closed_loop: calls wait for others, clients are far away and try again, replicas fail.
        long_talks: prefix caches everywhere, too small for the few conversations, each of many calls, that fill them.
        hand_offs: pools that prefill for others.
        warm: replicas hold contexts of conversations from before.
        ties: arrivals, limits and rates in whole seconds and whole numbers, so that much happens at the same time.
        huge: a few requests of as many tokens as a request may have, and KV cache for them.
        long_clock: ticks so long that the episode lasts as long as an episode may; not together with `huge`.
        variants: pools whose replicas load another model now and then.
    """

    load: float = 1.0
    small_kv: bool = False
    cap_share: float = 0.7
    closed_loop: bool = False
    long_talks: bool = False
    hand_offs: bool = False
    warm: bool = False
    ties: bool = False
    huge: bool = False
    long_clock: bool = False
    variants: bool = False


def random_instance(seed: int, **situation: Any) -> Instance:
    """An instance with 1-2 sites, 0-2 rows, 1-4 pools, 1-3 classes, as a `Situation` asks."""
    return random_instances(seed, 1, Situation(**situation))[0]


def random_instances(seed: int, fleets: int, situation: Situation) -> list[Instance]:
    """Instances of the same arrays, for one batch; the first of them does not depend on how many there are."""
    rng = np.random.default_rng(seed)
    arrays = _arrays(rng, situation)
    children = [rng, *(np.random.default_rng([seed, fleet]) for fleet in range(1, fleets))]
    return [Instance(arrays, _episode(child, arrays, situation), _tape(child, arrays, situation)) for child in children]


def _arrays(rng: np.random.Generator, situation: Situation) -> FleetArrays:
    arrays = random_fleet(rng, situation.small_kv)
    if situation.long_talks:
        arrays = with_small_caches(rng, arrays)
    if situation.hand_offs:
        arrays = with_hand_offs(rng, arrays)
    if situation.closed_loop:
        arrays = with_clients(rng, arrays)
    if situation.huge:
        arrays = with_room_for_all(rng, arrays)
    if situation.ties:
        arrays = with_tied_limits(rng, arrays)
    if situation.variants:
        arrays = with_variants(rng, arrays)
    return with_long_clock(arrays) if situation.long_clock else arrays


def _episode(rng: np.random.Generator, arrays: FleetArrays, situation: Situation) -> Episode:
    requests = _requests(rng, arrays, situation)
    episode = _course(rng, arrays, requests, situation.cap_share)
    if situation.closed_loop:
        requests = linked(rng, arrays, requests)
        episode = replace(episode, requests=requests, failures=random_failures(rng, arrays))
    if situation.ties:
        episode = replace(episode, requests=on_ticks(rng, arrays, requests))
    if situation.warm:
        episode = replace(episode, contexts=random_contexts(rng, arrays, episode.requests))
    return episode


def _requests(rng: np.random.Generator, arrays: FleetArrays, situation: Situation) -> RequestTable:
    tick_s = SHORT_TICK_S if situation.long_clock else arrays.tick_s
    requests = random_requests(rng, arrays, arrays.horizon_ticks * tick_s, situation.load)
    if situation.long_clock:
        requests = with_late_requests(rng, arrays, requests)
    if situation.long_talks:
        requests = with_long_talks(rng, requests)
    return with_huge_requests(rng, requests) if situation.huge else requests


def _course(rng: np.random.Generator, arrays: FleetArrays, requests: RequestTable, cap_share: float) -> Episode:
    horizon, sites = arrays.horizon_ticks, arrays.num_sites
    most_w = np.zeros(sites)
    np.add.at(most_w, arrays.site, arrays.replicas * (arrays.limit_w + arrays.host_w))
    cap_w = np.maximum(most_w * arrays.pue, 1.0) * cap_share * rng.uniform(0.5, 1.2, (horizon, sites))
    pool_most_w, rows = arrays.replicas * (arrays.limit_w + arrays.host_w), np.arange(arrays.num_rows)
    is_behind = (arrays.row[:, None] == rows) | (arrays.whole_site_row[:, None] == rows)
    row_cap_w = np.maximum(pool_most_w @ is_behind, 1.0) * cap_share * rng.uniform(0.5, 1.3, (horizon, len(rows)))
    width = arrays.view.width - arrays.view.offsets["cap_w"]
    later_rng = rng.spawn(1)[0]
    drawn = {
        "cap_w": cap_w,
        **random_calls(later_rng, arrays, cap_w),
        "rating_w": cap_w * rng.choice([1.0, 1.2], (horizon, sites)),
        "row_cap_w": row_cap_w,
        "row_rating_w": row_cap_w * rng.choice([1.0, 1.2], (horizon, len(rows))),
        "price_usd_per_mwh": np.full((horizon, sites), 60.0),
        "carbon_g_per_kwh": np.full((horizon, sites), 400.0),
        "outdoor_c": rng.uniform(-10.0, 40.0, (horizon, sites)),
        "pue": 1.0 + (arrays.pue - 1.0) * rng.uniform(0.3, 1.0, (horizon, sites)),
        "fixed_w": arrays.fixed_w * rng.uniform(0.5, 1.0, sites),
        "host_power_factor": rng.uniform(0.8, 1.2, sites),
        "solar_w": np.where(arrays.solar >= 0, most_w * rng.uniform(0.0, 0.6, (horizon, sites)), 0.0),
        "exogenous": rng.uniform(0.5, 1.0, (horizon + 1, width)).astype(np.float32),
        "decode_memory_fraction": rng.uniform(0.6, 1.0, arrays.num_pools),
        "variant_memory_fraction": rng.uniform(0.6, 1.0, arrays.sizes["v"]),
        "clock_sensitivity_factor": random_steps(later_rng, horizon, arrays.sizes["k"]),
    }
    return Episode(requests=requests, **{**neutral_arrays(Episode, arrays.sizes), **drawn})


def random_steps(rng: np.random.Generator, ticks: int, count: int) -> np.ndarray:
    """Factors that hold for some ticks each, `[ticks, count]`."""
    values = rng.choice([0.0, 0.5, 1.0, 1.0, 3.0, 20.0], (ticks, count)) * rng.uniform(0.9, 1.1, (ticks, count))
    since = np.maximum.accumulate(np.where(rng.random((ticks, count)) < 0.3, np.arange(ticks)[:, None], 0))
    return np.take_along_axis(values, since, axis=0)


def _controls(rng: np.random.Generator, arrays: FleetArrays) -> list[Controls]:
    classes, pools = arrays.num_classes, arrays.num_pools
    changes_clock, sleeps, throttles, charges, returns, prices, stands, pauses = rng.random(8) < 0.7
    tape = []
    for _ in range(arrays.horizon_ticks):
        clock = rng.uniform(0.1, 1.0, (1, pools)) if changes_clock else np.full((1, pools), 0.8)
        awake = rng.choice([0.0, 0.3, 0.7, 1.0, 1.0], (1, pools)) if sleeps else np.ones((1, pools))
        rate = rng.choice([0.0, 0.7, 3.0, np.inf], (1, classes)) if throttles else np.full((1, classes), np.inf)
        share = rng.choice([0.0, 0.2, 1.0], (1, classes, pools))
        battery_power_w = rng.uniform(-800.0, 800.0, (1, arrays.num_sites)) if charges else None
        affinity = rng.choice([0.0, 0.5, 1.0, np.inf], (1, classes)) if returns else None
        price_factor = rng.uniform(0.4, 4.5, (1, classes)) if prices else None
        standby = rng.choice([0.0, 0.3, 0.7, 1.0], (1, pools)) if stands else None
        works = rng.choice([0.0, 0.5, 1.0], (1, arrays.num_sites)) if pauses else None
        tape.append(
            Controls(
                route_share=share,
                clock_fraction=clock,
                awake_fraction=awake,
                admit_rate_rps=rate,
                battery_power_w=battery_power_w,
                prefix_affinity=affinity,
                token_price_factor=price_factor,
                standby_fraction=standby,
                training_share=works,
            )
        )
    return tape


def _tape(rng: np.random.Generator, arrays: FleetArrays, situation: Situation) -> list[Controls]:
    controls = _controls(rng, arrays)
    if situation.ties:
        controls = [with_tied_controls(rng, arrays, tick) for tick in controls]
    return with_switches(rng, arrays, controls) if situation.variants else controls
