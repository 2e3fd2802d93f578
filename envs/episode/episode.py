"""An episode: everything that chance decides, drawn once from one seed, before the first tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.course import PER_TICK, DrawnCourse, exogenous_of, pue_of
from tokenfleet.envs.episode.demand import (
    DEMAND_FORECASTS,
    DrawnStreams,
    busiest_streams,
    demand_forecast,
    draw_under_regimes,
    group_bounds,
    merged_requests,
)
from tokenfleet.envs.episode.regimes import DrawnRegimes
from tokenfleet.envs.episode.warm_caches import ContextTable, draw_contexts
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.facility import fixed_w
from tokenfleet.envs.layers.gpu.failures import FailureTable, Servers, draw_failures
from tokenfleet.envs.quantities import LARGEST, quantity
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import RequestTable

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]
_CLIENTS, _CONTEXTS, _REGIMES, _OUTLOOKS = 1, 2, 8, 10
"""Third number of the seeds from which clients, contexts in caches, regimes, and signs of events are drawn, apart from
all else."""


@dataclass(frozen=True)
class Origin:
    """The sources of an episode, and the draws that its series alone do not tell.

    Attributes:
        scenario, seed, split: as for `sample_episode`.
        streams: how the streams of requests were drawn.
        course: what chance decided about sites and rows.
        pue_factor: factor on PUE that chance decided, if any.
        regimes: what chance decided about regimes.
    """

    scenario: Scenario
    seed: int
    split: Split
    streams: DrawnStreams
    course: DrawnCourse
    pue_factor: float | None
    regimes: DrawnRegimes


@dataclass(frozen=True)
class Episode:
    """One draw of a scenario: demand, what breaks, and the course of sites, rows and pools from tick to tick.

    Attributes:
        requests: demand, sorted by arrival.
        failures: what breaks.
        contexts: what prefix caches hold at the start.
        origin: what the episode was drawn from, for `future`; None for an episode that was not drawn.
    """

    requests: RequestTable
    cap_w: Float64Array = quantity("HS", "W", "Cap of the site in every tick.", low=0.0, high=LARGEST)
    rating_w: Float64Array = quantity(
        "HS", "W", "What the grid connection can carry, which its breaker minds.", low=0.0, high=LARGEST
    )
    brake_cap_w: Float64Array = quantity(
        "HS", "W", "Cap that the brake holds: without calls that only money holds.", low=0.0, high=LARGEST
    )
    called_w: Float64Array = quantity("HC", "W", "How much of the contract is called back.", low=0.0, high=LARGEST)
    call_phase: Float64Array = quantity("HC", "", "See `layers.power.programme.CallPhase`.", low=0.0, high=3.0)
    regulation_signal: Float64Array = quantity("HU", "", "Signal that regulation follows.", low=-1.0, high=1.0)
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
        "S", "W/W", "On what servers draw besides their boards.", low=0.0, high=LARGEST, neutral=1.0
    )
    exogenous: Float32Array = quantity(
        "IE", "", "What a policy sees from outside before each tick and after the last, in the order of `EXOGENOUS`."
    )
    decode_memory_fraction: Float64Array = quantity(
        "P", "", "Share of decode time that the clock does not scale.", low=0.0, high=1.0
    )
    variant_memory_fraction: Float64Array = quantity("v", "", "The same of variants.", low=0.0, high=1.0)
    clock_sensitivity_factor: Float64Array = quantity(
        "Hk",
        "",
        "On the share of decode time that scales with the clock, of which 1 is the most.",
        low=0.0,
        high=LARGEST,
        neutral=1.0,
    )
    failures: FailureTable = field(default_factory=FailureTable.none)
    contexts: ContextTable = field(default_factory=ContextTable.none)
    origin: Origin | None = None


def sample_episode(scenario: Scenario, seed: int, split: Split = "train") -> Episode:
    """Draw one episode; the same seed and split give the same episode on every machine.

    Args:
        scenario: of the fleet.
        seed: any non-negative integer.
        split: which part of the traces and which family of random streams to draw from.

    Raises:
        SpecError: a stream has nothing of the split, or a user's stream fails.
    """
    seeds = [seed, SPLITS.index(split)]
    rng = np.random.default_rng(seeds)
    regimes = regimes_of(scenario, seed, split)
    requests, streams = _sample_requests(regimes, rng, seeds, split)
    course = DrawnCourse.draw(scenario, split, rng, np.random.default_rng([*seeds, _OUTLOOKS]))
    series = course.series() | demand_forecast(scenario, requests, [*seeds, DEMAND_FORECASTS])
    decode_memory_fraction = _sample_decode_memory_fraction(scenario, rng)
    failures = _sample_failures(scenario, rng)
    facilities, pue_factor = _sample_facilities(regimes, series["outdoor_c"][:-1], rng)
    return Episode(
        requests=requests,
        **{name: np.ascontiguousarray(series[name][:-1]) for name in PER_TICK},
        exogenous=exogenous_of({**series, "regime_indicator": regimes.indicators()}),
        decode_memory_fraction=decode_memory_fraction,
        variant_memory_fraction=_variant_memory_fraction(scenario, decode_memory_fraction),
        clock_sensitivity_factor=regimes.clock_sensitivity_factor(),
        failures=failures,
        contexts=draw_contexts(scenario, requests, [*seeds, _CONTEXTS]),
        **facilities,
        origin=Origin(scenario, seed, split, streams, course, pue_factor, regimes),
    )


def regimes_of(scenario: Scenario, seed: int, split: Split) -> DrawnRegimes:
    """The regimes of the episode that `sample_episode` draws."""
    return DrawnRegimes.draw(scenario, np.random.default_rng([seed, SPLITS.index(split), _REGIMES]))


def _sample_requests(
    regimes: DrawnRegimes, rng: np.random.Generator, seeds: Sequence[int], split: Split
) -> tuple[RequestTable, DrawnStreams]:
    scenario, states, demands = regimes.scenario, [], []
    for name, stream in scenario.derived(busiest_streams).items():
        states.append(rng.bit_generator.state)
        demands.append(draw_under_regimes(name, stream, regimes, rng, (0.0, scenario.horizon_s), split))
    requests = merged_requests(scenario, demands, [*seeds, _CLIENTS], regimes)
    return requests, DrawnStreams(tuple(states), group_bounds(demands))


def _sample_failures(scenario: Scenario, rng: np.random.Generator) -> FailureTable:
    if scenario.failures is None:
        return FailureTable.none()
    return draw_failures(scenario.failures, servers_of(scenario), scenario.tick_s, scenario.horizon_ticks, rng)


def _sample_facilities(
    regimes: DrawnRegimes, outdoor_c: Float64Array, rng: np.random.Generator
) -> tuple[dict[str, Float64Array], float | None]:
    """What facilities draw beyond the boards at `outdoor_c`, `[H, S]`; and the factor on PUE, if any.

    Without bounds nothing is drawn.
    """
    scenario, bounds = regimes.scenario, regimes.scenario.uncertainty
    factor = None if bounds.pue_factor is None else rng.uniform(*bounds.pue_factor)
    host_factor = 1.0 if bounds.host_power_factor is None else rng.uniform(*bounds.host_power_factor)
    fixed = [fixed_w(site.facility, scenario.it_nameplate_w(name)) for name, site in scenario.sites.items()]
    columns = {
        "pue": pue_of(scenario, outdoor_c, factor, regimes),
        "fixed_w": np.array(fixed) * (1.0 if factor is None else factor),
        "host_power_factor": np.full(len(fixed), host_factor),
    }
    return columns, factor


def servers_of(scenario: Scenario) -> list[Servers]:
    """The pools as failures see them."""
    pools = list(scenario.pools.values())
    first = np.cumsum([0, *[pool.replicas for pool in pools]]).tolist()
    return [Servers(first[p], pool.replicas, pool.parallelism.boards) for p, pool in enumerate(pools)]


def _sample_decode_memory_fraction(scenario: Scenario, rng: np.random.Generator) -> Float64Array:
    bounds = scenario.uncertainty.decode_memory_fraction
    if bounds is not None:
        return np.full(len(scenario.pools), rng.uniform(*bounds))
    return np.array([pool.profile.decode_memory_fraction for pool in scenario.pools.values()])


def _variant_memory_fraction(scenario: Scenario, drawn: Float64Array) -> Float64Array:
    """Share of decode time of variants that the clock does not scale, `[v]`: as drawn, or as in their profiles."""
    own = [pool.switched.profile.decode_memory_fraction for pool in scenario.pools.values() if pool.variant is not None]
    return np.array(own) if scenario.uncertainty.decode_memory_fraction is None else np.full(len(own), drawn[0])
