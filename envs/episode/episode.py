"""An episode: everything that chance decides, drawn once from one seed, before the first tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.signals import sample_signals
from tokenfleet.envs.episode.warm_caches import ContextTable, draw_contexts
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.layers.agents import SPLIT_BOUNDS, Split, client_columns, draw_demand, merge
from tokenfleet.envs.layers.facility import fixed_w, pue
from tokenfleet.envs.layers.gpu.failures import FailureTable, Servers, draw_failures
from tokenfleet.envs.layers.power import CapSpec, announced_cap_w, cap_schedule_w, draw_events, rating_schedule_w
from tokenfleet.envs.quantities import LARGEST, quantity
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]
_CLIENTS, _CONTEXTS = 1, 2
"""Third number of the seeds from which clients, and contexts in caches, are drawn, apart from all else."""


@dataclass(frozen=True)
class Episode:
    """One draw of a scenario: demand, what breaks, and the course of sites, rows and pools from tick to tick.

    Attributes:
        requests: demand, sorted by arrival.
        failures: what breaks.
        contexts: what prefix caches hold at the start.
    """

    requests: RequestTable
    cap_w: Float64Array = quantity("HS", "W", "Cap of the site in every tick.", low=0.0, high=LARGEST)
    rating_w: Float64Array = quantity(
        "HS", "W", "What the grid connection can carry, which its breaker minds.", low=0.0, high=LARGEST
    )
    row_cap_w: Float64Array = quantity("HW", "W", "Cap of the row's IT power.", low=0.0, high=LARGEST)
    row_rating_w: Float64Array = quantity("HW", "W", "What the row can carry.", low=0.0, high=LARGEST)
    price_usd_per_mwh: Float64Array = quantity("HS", "USD/MWh", "Electricity price.", low=-LARGEST, high=LARGEST)
    carbon_g_per_kwh: Float64Array = quantity("HS", "g/kWh", "Carbon intensity.", low=-LARGEST, high=LARGEST)
    outdoor_c: Float64Array = quantity("HS", "C", "Air temperature outside.", low=-LARGEST, high=LARGEST)
    solar_w: Float64Array = quantity("HS", "W", "What the site's own panels give.", low=0.0, high=LARGEST)
    pue: Float64Array = quantity(
        "HS", "W/W", "Facility power for each watt of IT power, without the fixed part.", low=0.0, high=LARGEST
    )
    fixed_w: Float64Array = quantity("S", "W", "What the facility draws whatever its load.", low=0.0, high=LARGEST)
    host_power_factor: Float64Array = quantity(
        "S", "W/W", "On what servers draw besides their boards.", low=0.0, high=LARGEST
    )
    exogenous: Float32Array = quantity(
        "IE", "", "What a policy sees from outside before each tick and after the last, in the order of `EXOGENOUS`."
    )
    decode_memory_fraction: Float64Array = quantity(
        "P", "", "Share of decode time that the clock does not scale.", low=0.0, high=1.0
    )
    failures: FailureTable = field(default_factory=FailureTable.none)
    contexts: ContextTable = field(default_factory=ContextTable.none)


def sample_episode(scenario: Scenario, seed: int, split: Split = "train") -> Episode:
    """Draw one episode; the same seed and split give the same episode on every machine.

    Args:
        scenario: the world.
        seed: any non-negative integer.
        split: which part of the traces and which family of random streams to draw from.
    """
    seeds = [seed, list(SPLIT_BOUNDS).index(split)]
    rng = np.random.default_rng(seeds)
    requests = _sample_requests(scenario, rng, [*seeds, _CLIENTS], split)
    course = _sample_course(scenario, rng, split)
    return Episode(
        requests=requests,
        **{name: np.ascontiguousarray(course[name][:-1]) for name in PER_TICK},
        exogenous=_exogenous(course),
        decode_memory_fraction=_sample_decode_memory_fraction(scenario, rng),
        failures=_sample_failures(scenario, rng),
        contexts=draw_contexts(scenario, requests, [*seeds, _CONTEXTS]),
        **_sample_facilities(scenario, course["outdoor_c"][:-1], rng),
    )


LIMITS = ("cap_w", "rating_w", "row_cap_w", "row_rating_w")
PER_TICK = (*LIMITS, "price_usd_per_mwh", "carbon_g_per_kwh", "outdoor_c", "solar_w")
"""What an `Episode` holds of the course of its sites and rows, `[H, S]` or `[H, W]` each."""


def _exogenous(course: dict[str, Float64Array]) -> NDArray[np.float32]:
    """The fields of `fields.EXOGENOUS` side by side, `[H + 1, E]`."""
    values = [course[field.name] for field in EXOGENOUS]
    columns = [value.reshape(len(value), -1) for value in values if value.size]
    return np.concatenate(columns, axis=1, dtype=np.float32, casting="same_kind")


def _sample_requests(
    scenario: Scenario, rng: np.random.Generator, client_seed: Sequence[int], split: Split
) -> RequestTable:
    names, streams = list(scenario.classes), list(scenario.workload.values())
    demands = [draw_demand(name, stream, rng, scenario.horizon_s, split) for name, stream in scenario.workload.items()]
    clients = client_columns(client_seed, demands, streams, scenario.classes, scenario.region_weights)
    return merge(demands, [names.index(stream.request_class) for stream in streams], **clients)


def _sample_course(scenario: Scenario, rng: np.random.Generator, split: Split) -> dict[str, Float64Array]:
    """What the world imposes before every tick and after the last, by name: `[H + 1, S or W, ...]`."""
    sites = {name: site.grid for name, site in scenario.sites.items()}
    course = _sample_caps(scenario, list(sites.values()), [scenario.contract_w(name) for name in sites], rng)
    contracts_w = [scenario.row_cap_w(*key) for key in scenario.rows]
    rows = _sample_caps(scenario, list(scenario.rows.values()), contracts_w, rng)
    signals = vars(sample_signals(scenario, split, rng))
    time_fraction = np.linspace(0, 1, scenario.horizon_ticks + 1)
    return {
        **course,
        **{ROW_CAPS[name]: caps for name, caps in rows.items()},
        **signals,
        "time_fraction": time_fraction,
    }


ROW_CAPS = {"cap_w": "row_cap_w", "rating_w": "row_rating_w", "announced_cap_w": "announced_row_cap_w"}
"""What the caps of rows are called."""


def _sample_caps(
    scenario: Scenario, limits: Sequence[CapSpec], contracts_w: Sequence[float], rng: np.random.Generator
) -> dict[str, Float64Array]:
    """The caps of D limits through the episode, `[H + 1, D]` each, announced ones `[H + 1, D, L]`."""
    now_s = scenario.tick_s * np.arange(scenario.horizon_ticks + 1, dtype=np.float64)
    contract_w, leads_s = np.array(contracts_w, np.float64), scenario.announced_lead_s
    caps = {
        "cap_w": np.full((len(now_s), len(limits)), contract_w),
        "rating_w": np.full((len(now_s), len(limits)), contract_w),
        "announced_cap_w": np.full((len(now_s), len(limits), len(leads_s)), contract_w[:, None]),
    }
    for d, limit in enumerate(limits):
        if not (events := draw_events(limit, rng)):
            continue
        caps["cap_w"][:, d] = cap_schedule_w(events, contracts_w[d], now_s)
        caps["rating_w"][:, d] = rating_schedule_w(events, contracts_w[d], now_s)
        for lead, lead_s in enumerate(leads_s):
            caps["announced_cap_w"][:, d, lead] = announced_cap_w(events, contracts_w[d], now_s, lead_s)
    return caps


def _sample_failures(scenario: Scenario, rng: np.random.Generator) -> FailureTable:
    if scenario.failures is None:
        return FailureTable.none()
    pools = list(scenario.pools.values())
    first = np.cumsum([0, *[pool.replicas for pool in pools]]).tolist()
    servers = [Servers(first[p], pool.replicas, pool.parallelism.boards) for p, pool in enumerate(pools)]
    return draw_failures(scenario.failures, servers, scenario.tick_s, scenario.horizon_ticks, rng)


def _sample_facilities(
    scenario: Scenario, outdoor_c: Float64Array, rng: np.random.Generator
) -> dict[str, Float64Array]:
    """What facilities draw beyond the boards, under skies of `outdoor_c`, `[H, S]`; without bounds nothing is drawn."""
    bounds = scenario.uncertainty
    factor = 1.0 if bounds.pue_factor is None else rng.uniform(*bounds.pue_factor)
    host_factor = 1.0 if bounds.host_power_factor is None else rng.uniform(*bounds.host_power_factor)
    facilities = {name: site.facility for name, site in scenario.sites.items()}
    plain = np.stack([pue(f, outdoor_c[:, s]) for s, f in enumerate(facilities.values())], axis=1)
    fixed = np.array([fixed_w(f, scenario.it_nameplate_w(name)) for name, f in facilities.items()])
    return {
        "pue": plain if bounds.pue_factor is None else 1.0 + (plain - 1.0) * factor,
        "fixed_w": fixed * factor,
        "host_power_factor": np.full(len(facilities), host_factor),
    }


def _sample_decode_memory_fraction(scenario: Scenario, rng: np.random.Generator) -> Float64Array:
    bounds = scenario.uncertainty.decode_memory_fraction
    if bounds is not None:
        return np.full(len(scenario.pools), rng.uniform(*bounds))
    return np.array([pool.profile.decode_memory_fraction for pool in scenario.pools.values()])
