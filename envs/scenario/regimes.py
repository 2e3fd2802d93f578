"""Hidden regimes: demand, what clients would pay, cooling, and what clocks do change together, and nobody is told.

A regime is in one of M positions at every tick, a stationary Markov chain. A regime that switches has a position for
each of its states: it stays for an exponential time and goes to another with a chance in proportion to the weight of
that state. A regime that drifts is a random walk between two states, reflected at both ends; all positions are equally
likely in the long run. In between, every factor is the weighted geometric mean of both states' factors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.layers.agents import RequestClassSpec, StreamSpec, check_stream
from tokenfleet.envs.spec import GrowingSpec, Name, NonNegativeFloat, PositiveFloat, Spec, suggest

Float64Array = NDArray[np.float64]

Factor = Annotated[float, Field(gt=0, le=1e6)]
"""The bound keeps the product of several regimes finite."""
DRIFT_POSITIONS = 33
"""Positions of a drift, both ends included."""


class StreamFactorsSpec(Spec):
    """What a state makes of a stream.

    Attributes:
        rate_factor: on its rate; of a stream of sessions, on the sessions that begin.
        prompt_factor, output_factor: on the tokens of each request that arrives, rounded to whole ones, at least 1;
            not for streams of sessions, whose calls build on each other.
    """

    rate_factor: Factor = 1.0
    prompt_factor: Factor = 1.0
    output_factor: Factor = 1.0

    @property
    def by_key(self) -> dict[str, float]:
        """The factors by their keys."""
        keys = {"prompt_factor": self.prompt_factor, "output_factor": self.output_factor}
        return {"rate_factor": self.rate_factor, **keys}


class RegimeStateSpec(GrowingSpec):
    """One state of a regime; what it does not name stays as it is.

    Attributes:
        mean_stay_s: how long the state lasts on average [s]; without it, for whole episodes.
        weight: how likely the state is, relative to the others, when another state ends; without `mean_stay_s`, when an
            episode is drawn.
        streams: what it makes of streams, by their names in `workload`.
        price_tolerance_factor: on the highest price factor that clients of this time accept, by class.
        cooling_factor: on the power of facilities for each watt of IT power beyond that watt, by site: a fouled heat
            exchanger, a chiller that is out.
        clock_sensitivity_factor: on the share of decode time that scales with the clock, by pool; all of it at most.
            Other kernels, other batches and contexts than a profile was measured with: published shares reach from 0.01
            to 0.3.
    """

    later: ClassVar[tuple[str, ...]] = ("clock_sensitivity_factor",)

    mean_stay_s: PositiveFloat | None = None
    weight: PositiveFloat = 1.0
    streams: dict[Name, StreamFactorsSpec] = Field(default_factory=dict)
    price_tolerance_factor: dict[Name, Factor] = Field(default_factory=dict)
    cooling_factor: dict[Name, Factor] = Field(default_factory=dict)
    clock_sensitivity_factor: dict[Name, Factor] = Field(default_factory=dict)

    @property
    def changes_something(self) -> bool:
        """Whether it names anything."""
        tables = (self.streams, self.price_tolerance_factor, self.cooling_factor, self.clock_sensitivity_factor)
        return any(tables)

    def log_factor(self, table: str, name: str, key: str = "") -> float:
        """Logarithm of a factor; 0 for what the state does not name."""
        found = getattr(self, table).get(name)
        if found is None:
            return 0.0
        return float(np.log(found.by_key[key] if key else found))


class IndicatorSpec(Spec):
    """What a policy sees of a regime: the number of the state to come, counted from 0, and noise.

    Attributes:
        lead_s: how far the indicator is ahead of the regime [s], in whole ticks rounded up.
        noise: standard deviation of the error, which is normal; states lie 1 apart.
        noise_memory_s: time in which the error is forgotten by a factor of e [s]; 0 draws it anew for every tick, so
            that a policy can average the noise away.
    """

    lead_s: NonNegativeFloat = 0.0
    noise: PositiveFloat
    noise_memory_s: NonNegativeFloat = 0.0

    def kept(self, tick_s: float) -> float:
        """Share of the error that is left after a tick."""
        return float(np.exp(-tick_s / self.noise_memory_s)) if self.noise_memory_s > 0.0 else 0.0


class RegimeSpec(Spec):
    """What changes together; never shown to a policy but through its indicator.

    Attributes:
        states: by name, two or more.
        drift_memory_s: drift between two states instead of switching; time after which the place in between is
            forgotten by a factor of e [s].
        indicator: a noisy sign of what comes; none by default.
    """

    states: dict[Name, RegimeStateSpec] = Field(min_length=2)
    drift_memory_s: PositiveFloat | None = None
    indicator: IndicatorSpec | None = None

    @model_validator(mode="after")
    def _states_fit_the_course(self) -> Self:
        states, stays = self.states.values(), [state.mean_stay_s for state in self.states.values()]
        if self.drift_memory_s is not None:
            if len(stays) != 2:
                raise ValueError(f"drift_memory_s: a drift runs between two states (got {len(stays)})")
            if any(stay is not None for stay in stays) or any(state.weight != 1.0 for state in states):
                raise ValueError("drift_memory_s: states of a drift have no mean_stay_s and no weight; leave them out")
        elif None in stays and any(stay is not None for stay in stays):
            raise ValueError("states: give every state a mean_stay_s, or none for a regime that holds all episode")
        if not any(state.changes_something for state in states):
            raise ValueError(
                "states: no state changes anything; name streams, price_tolerance_factor, cooling_factor or "
                "clock_sensitivity_factor"
            )
        return self

    @property
    def mix(self) -> Float64Array:
        """How much each position has of each state, `[M, states]`; rows add up to 1."""
        if self.drift_memory_s is None:
            return np.eye(len(self.states))
        share = np.linspace(0.0, 1.0, DRIFT_POSITIONS)
        return np.stack([1.0 - share, share], axis=1)

    @property
    def level(self) -> Float64Array:
        """The indicator of each position without noise, `[M]`."""
        return self.mix @ np.arange(len(self.states), dtype=np.float64)

    @cached_property
    def stationary(self) -> Float64Array:
        """Share of time in each position, `[M]`."""
        if self.drift_memory_s is not None:
            return np.full(DRIFT_POSITIONS, 1.0 / DRIFT_POSITIONS)
        states = self.states.values()
        weight = np.array([state.weight for state in states])
        stay_s = np.array([1.0 if state.mean_stay_s is None else state.mean_stay_s for state in states])
        if next(iter(states)).mean_stay_s is not None:
            weight = weight * (weight.sum() - weight) * stay_s  # visits, times how long each lasts
        share: Float64Array = weight / weight.sum()
        return share

    def transition(self, tick_s: float) -> Float64Array:
        """Chance of each position a tick after each other one, `[M, M]`; rows add up to 1."""
        rate = self._rates_per_s() * tick_s
        halvings = max(int(np.ceil(np.log2(max(np.abs(rate).sum(axis=1).max(), 1e-12)))) + 4, 0)
        chance = term = np.eye(len(rate))
        for k in range(1, 16):
            term = term @ rate / (k * 2.0**halvings)
            chance = chance + term
        for _ in range(halvings):
            chance = chance @ chance
        positive = np.maximum(chance, 0.0)
        rows: Float64Array = positive / positive.sum(axis=1, keepdims=True)
        return rows

    def factors(self, table: str, name: str, key: str = "") -> Float64Array:
        """A factor of every position, `[M]`; see `RegimeStateSpec.log_factor`."""
        logs = [state.log_factor(table, name, key) for state in self.states.values()]
        factors: Float64Array = np.exp(self.mix @ np.array(logs))
        return factors

    def _rates_per_s(self) -> Float64Array:
        """Generator of the chain, `[M, M]` [1/s]; rows add up to 0."""
        if self.drift_memory_s is not None:
            # The slowest mode of a reflected walk with steps h at rate r each way decays at 2 r (1 - cos(pi h)).
            each_way = 1.0 / (2.0 * self.drift_memory_s * (1.0 - np.cos(np.pi / DRIFT_POSITIONS)))
            near = np.eye(DRIFT_POSITIONS, k=1) + np.eye(DRIFT_POSITIONS, k=-1)
            walk: Float64Array = each_way * (near - np.diag(near.sum(axis=1)))
            return walk
        states = self.states.values()
        if next(iter(states)).mean_stay_s is None:
            return np.zeros((len(states), len(states)))
        weight = np.array([state.weight for state in states])
        leave = np.array([1.0 / (state.mean_stay_s or np.inf) for state in states])
        others = weight * (1.0 - np.eye(len(states)))
        rates: Float64Array = leave[:, None] * (others / others.sum(axis=1, keepdims=True) - np.eye(len(states)))
        return rates


def regime_product(regimes: Mapping[str, RegimeSpec], name: str, *keys: str) -> float:
    """Mean over time of the product of a stream's factors named by `keys`, which change together."""
    mean = 1.0
    for regime in regimes.values():
        product = np.ones(len(regime.stationary))
        for key in keys:
            product *= regime.factors("streams", name, key)
        mean *= float(regime.stationary @ product)
    return mean


def highest_rate_factor(regimes: Mapping[str, RegimeSpec], name: str) -> float:
    """The highest factor of all regimes together on a stream's rate."""
    return float(np.prod([regime.factors("streams", name, "rate_factor").max() for regime in regimes.values()]))


def extreme_factors(regimes: Mapping[str, RegimeSpec], table: str, name: str) -> tuple[float, float]:
    """The lowest and the highest factor of all regimes together; see `RegimeStateSpec.log_factor`."""
    factors = [regime.factors(table, name) for regime in regimes.values()]
    return float(np.prod([each.min() for each in factors])), float(np.prod([each.max() for each in factors]))


def unsteady_pools(regimes: Mapping[str, RegimeSpec]) -> set[str]:
    """The pools whose clock sensitivity some regime changes."""
    states = [state for regime in regimes.values() for state in regime.states.values()]
    return {pool for state in states for pool in state.clock_sensitivity_factor}


def busiest_stream(regimes: Mapping[str, RegimeSpec], name: str, stream: StreamSpec) -> StreamSpec:
    """A stream at its highest rate under regimes."""
    factor = highest_rate_factor(regimes, name)
    return stream if factor == 1.0 else stream.busier(factor)


def regime_problems(
    regimes: Mapping[str, RegimeSpec],
    workload: Mapping[str, StreamSpec],
    classes: Mapping[str, RequestClassSpec],
    sites: Collection[str],
    pools: Collection[str],
    horizon_s: float,
) -> list[str]:
    """What is wrong with the regimes of a scenario, one line each."""
    priced = [name for name, spec in classes.items() if spec.price_tolerance is not None]
    known: dict[str, tuple[Collection[str], str]] = {
        "streams": (workload.keys(), "no such stream in workload"),
        "price_tolerance_factor": (priced, "no class of that name has a price_tolerance"),
        "cooling_factor": (sites, "no such site"),
        "clock_sensitivity_factor": (pools, "no such pool"),
    }
    problems = [
        f"regimes.{regime}.states.{state}.{table}.{name}: {complaint}{suggest(name, names)}"
        for regime, spec in regimes.items()
        for state, changes in spec.states.items()
        for table, (names, complaint) in known.items()
        for name in getattr(changes, table)
        if name not in names
    ]
    problems += [
        f"regimes.{regime}.states.{state}.streams.{name}.{key}: the calls of sessions build on each other, so that "
        "their lengths have no factor; change the rates of two streams instead"
        for regime, spec in regimes.items()
        for state, changes in spec.states.items()
        for name, factors in changes.streams.items()
        for key in ("prompt_factor", "output_factor")
        if name in workload and workload[name].has_sessions and factors.by_key[key] != 1.0
    ]
    return problems or _busy_problems(regimes, workload, horizon_s)


def _busy_problems(
    regimes: Mapping[str, RegimeSpec], workload: Mapping[str, StreamSpec], horizon_s: float
) -> list[str]:
    problems = []
    for name, stream in workload.items():
        factor = highest_rate_factor(regimes, name)
        if factor == 1.0:
            continue
        try:
            check_stream(stream.busier(factor), horizon_s)
        except ValueError as error:
            problems.append(f"regimes: at {factor:g} times its rate, stream {name!r} cannot be drawn: {error}")
    return problems
