"""The hidden regimes of one episode: where each stands at every tick, and what its indicator shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.regimes import IndicatorSpec, RegimeSpec

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class RegimeCourse:
    """One regime through an episode of H ticks.

    Attributes:
        spec: the regime.
        tick_s: length of a tick [s].
        position: its position at every tick, at the end, and as far beyond as its indicator looks, `[H + 1 + lead]`.
        indicator: what is shown before every tick and after the last, `[H + 1]`; empty without an indicator.
    """

    spec: RegimeSpec
    tick_s: float
    position: IntArray
    indicator: Float64Array

    @classmethod
    def draw(cls, spec: RegimeSpec, tick_s: float, ticks: int, rng: np.random.Generator) -> RegimeCourse:
        """A course of `ticks` ticks."""
        position = _walk(spec.transition(tick_s), _choose(spec.stationary, rng), ticks + _lead(spec, tick_s), rng)
        return cls(spec, tick_s, position, _shown(spec, tick_s, position, np.empty(0), rng))

    def go_on(self, tick: int, rng: np.random.Generator) -> RegimeCourse:
        """A course that this one's indicator up to entry `tick` allows, in the right proportion.

        Before `tick` it is this one. From there on it is drawn from what the indicator has shown, by Bayes' law; what
        demand has shown of the regime is not used.
        """
        chance, lead = self.spec.transition(self.tick_s), _lead(self.spec, self.tick_s)
        shown = self.indicator[: tick + 1]
        if self.spec.indicator is None:
            known = _walk(chance, _choose(self.spec.stationary, rng), tick, rng)
        else:
            known = _posterior(self.spec, self.tick_s, chance, shown, rng)  # of entries lead ... lead + tick
        known = np.concatenate([_walk(chance, int(known[0]), lead, rng)[:0:-1], known])  # the chain runs either way
        later = _walk(chance, int(known[-1]), len(self.position) - len(known), rng)[1:]
        position = np.concatenate([self.position[:tick], known[tick:], later])
        return replace(self, position=position, indicator=_shown(self.spec, self.tick_s, position, shown, rng))


@dataclass(frozen=True)
class DrawnRegimes:
    """All regimes of an episode, in the order of the scenario."""

    scenario: Scenario
    courses: tuple[RegimeCourse, ...]

    @classmethod
    def draw(cls, scenario: Scenario, rng: np.random.Generator) -> DrawnRegimes:
        """Let chance decide."""
        ticks = scenario.horizon_ticks
        drawn = (RegimeCourse.draw(spec, scenario.tick_s, ticks, rng) for spec in scenario.regimes.values())
        return cls(scenario, tuple(drawn))

    def go_on(self, tick: int, rng: np.random.Generator) -> DrawnRegimes:
        """Regimes whose indicators are these up to entry `tick`; see `RegimeCourse.go_on`."""
        return replace(self, courses=tuple(course.go_on(tick, rng) for course in self.courses))

    def factor(self, table: str, name: str, key: str = "") -> Float64Array:
        """The product of all regimes' factors in every tick, `[H]`; see `RegimeStateSpec.log_factor`."""
        product = np.ones(self.scenario.horizon_ticks)
        for course in self.courses:
            product *= course.spec.factors(table, name, key)[course.position[: len(product)]]
        return product

    def cooling_factor(self) -> Float64Array:
        """Factor on cooling of every site, `[H, S]`."""
        return self._factors("cooling_factor", self.scenario.sites)

    def clock_sensitivity_factor(self) -> Float64Array:
        """Factor on the clock sensitivity of every pool that some regime changes, `[H, k]`."""
        return self._factors("clock_sensitivity_factor", self.scenario.unsteady_pools)

    def _factors(self, table: str, names: Collection[str]) -> Float64Array:
        factors = np.ones((self.scenario.horizon_ticks, len(names)))
        for column, name in enumerate(names):
            factors[:, column] = self.factor(table, name)
        return factors

    def indicators(self) -> Float64Array:
        """Indicators of the regimes that have one, `[H + 1, i]`."""
        shown = [course.indicator for course in self.courses if course.spec.indicator is not None]
        return np.stack(shown, axis=1) if shown else np.empty((self.scenario.horizon_ticks + 1, 0))


def _lead(spec: RegimeSpec, tick_s: float) -> int:
    """Ticks by which the indicator goes ahead."""
    return 0 if spec.indicator is None else int(np.ceil(spec.indicator.lead_s / tick_s - 1e-9))


def _choose(chance: Float64Array, rng: np.random.Generator) -> int:
    return int(np.searchsorted(np.cumsum(chance)[:-1], rng.random(), side="right"))


def _walk(chance: Float64Array, first: int, steps: int, rng: np.random.Generator) -> IntArray:
    """Positions from `first` on, `[steps + 1]`."""
    below, drawn = np.cumsum(chance, axis=1)[:, :-1].tolist(), rng.random(steps).tolist()
    walk = [first]
    for uniform in drawn:
        walk.append(sum(edge <= uniform for edge in below[walk[-1]]))
    return np.array(walk, np.int64)


def _shown(
    spec: RegimeSpec, tick_s: float, position: IntArray, before: Float64Array, rng: np.random.Generator
) -> Float64Array:
    """The whole indicator, beginning with the entries shown `before`."""
    if spec.indicator is None:
        return np.empty(0)
    level = spec.level[position[_lead(spec, tick_s) :]]
    kept, size = spec.indicator.kept(tick_s), spec.indicator.noise
    fresh = np.sqrt(1.0 - kept * kept) * size
    shown = np.concatenate([before, np.empty(len(level) - len(before))])
    noise = rng.standard_normal(len(level))
    for k in range(len(before), len(level)):
        error = kept * (shown[k - 1] - level[k - 1]) + fresh * noise[k] if k else size * noise[k]
        shown[k] = level[k] + error
    return shown


def _posterior(
    spec: RegimeSpec, tick_s: float, chance: Float64Array, shown: Float64Array, rng: np.random.Generator
) -> IntArray:
    """Positions behind entries 0 ... T of an indicator, drawn given these entries, `[T + 1]`.

    Forward filtering, backward sampling (Carter and Kohn, "On Gibbs sampling for state space models", Biometrika 81,
    1994, doi:10.1093/biomet/81.3.541).
    """
    assert spec.indicator is not None
    with np.errstate(divide="ignore"):
        log_chance, log_first = np.log(chance), np.log(spec.stationary)
    likely = _Likelihood(spec.level, spec.indicator, tick_s)
    weights = [_scaled(log_first + likely.first(float(shown[0])))]
    pairs = list(zip(shown[:-1].tolist(), shown[1:].tolist(), strict=True))
    for pair in pairs:
        joint = weights[-1][:, None] + log_chance + likely.next(*pair)
        weights.append(_scaled(np.logaddexp.reduce(joint, axis=0)))
    drawn = [_choose(_chances(weights[-1]), rng)]
    for weight, pair in zip(weights[-2::-1], reversed(pairs), strict=True):
        drawn.append(_choose(_chances(weight + (log_chance + likely.next(*pair))[:, drawn[-1]]), rng))
    return np.array(drawn[::-1], np.int64)


class _Likelihood:
    """Logarithm of an entry's likelihood, by the positions behind this entry and the one before it.

    A constant is left out.
    """

    def __init__(self, level: Float64Array, indicator: IndicatorSpec, tick_s: float) -> None:
        self._level, self._noise = level, indicator.noise
        self._kept = indicator.kept(tick_s)
        self._fresh = indicator.noise * np.sqrt(1.0 - self._kept * self._kept)
        self._expected = level[None, :] - self._kept * level[:, None]

    def first(self, shown: float) -> Float64Array:
        """Of the first entry, `[M]`."""
        return -0.5 * ((shown - self._level) / self._noise) ** 2

    def next(self, before: float, shown: float) -> Float64Array:
        """Of an entry after another, `[M, M]`."""
        log: Float64Array = -0.5 * ((shown - self._kept * before - self._expected) / self._fresh) ** 2
        return log


def _scaled(log_weight: Float64Array) -> Float64Array:
    """Logarithms of weights in the same ratios, the largest weight 1."""
    scaled: Float64Array = log_weight - log_weight.max()
    return scaled


def _chances(log_weight: Float64Array) -> Float64Array:
    weight = np.exp(_scaled(log_weight))
    chances: Float64Array = weight / weight.sum()
    return chances
