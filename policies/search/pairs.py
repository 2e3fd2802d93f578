"""Searches along random directions, each tried both ways: what a pair has in common cancels in its difference."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from tokenfleet.policies.search import Float64Array, finite, ranked

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Constants of Adam (Kingma and Ba 2015, arXiv 1412.6980)."""


class PairSearch(ABC):
    """See `tokenfleet.policies.search.Search`; candidate `P / 2 + i` is the mirror image of candidate `i`.

    Args:
        start: the first centre, `[D]`.
        sigma: standard deviation of the candidates around the centre.
        population: candidates of a generation, an even number.
        seed: of its draws.
        learning_rate: factor on the move of the centre in a generation.
    """

    def __init__(self, start: Float64Array, sigma: float, population: int, seed: int, learning_rate: float) -> None:
        self.centre = np.array(start, np.float64)
        self.population = population
        self._sigma, self._learning_rate = sigma, learning_rate
        self._rng = np.random.default_rng(seed)
        self._directions = np.empty((0, len(self.centre)))

    def ask(self) -> Float64Array:
        """See `Search`."""
        self._directions = self._rng.standard_normal((self.population // 2, len(self.centre)))
        steps = self._sigma * self._directions
        return np.concatenate([self.centre + steps, self.centre - steps])

    def tell(self, values: NDArray[np.generic]) -> None:
        """See `Search`."""
        self.centre = self.centre + self._step(values)

    @abstractmethod
    def _step(self, values: NDArray[np.generic]) -> Float64Array:
        """How the centre moves, `[D]`."""


class EvolutionStrategy(PairSearch):
    """OpenAI's: the gradient of the mean rank, followed by Adam (Salimans et al. 2017, arXiv 1703.03864)."""

    def __init__(self, start: Float64Array, sigma: float, population: int, seed: int, learning_rate: float) -> None:
        super().__init__(start, sigma, population, seed, learning_rate)
        self._mean, self._square = np.zeros_like(self.centre), np.zeros_like(self.centre)
        self._generation = 0

    def _step(self, values: NDArray[np.generic]) -> Float64Array:
        first, mirrored = np.split(ranked(values), 2)
        gradient = (first - mirrored) @ self._directions / (self.population * self._sigma)
        self._generation += 1
        self._mean = BETA_1 * self._mean + (1.0 - BETA_1) * gradient
        self._square = BETA_2 * self._square + (1.0 - BETA_2) * gradient**2
        mean = self._mean / (1.0 - BETA_1**self._generation)
        square = self._square / (1.0 - BETA_2**self._generation)
        step: Float64Array = self._learning_rate * mean / (np.sqrt(square) + EPSILON)
        return step


class AugmentedRandomSearch(PairSearch):
    """The best directions, weighted by their differences over the deviation of their values.

    H. Mania, A. Guy, B. Recht, "Simple random search of static linear policies is competitive for reinforcement
    learning", 2018, arXiv 1803.07055; observations are normalised elsewhere.

    Args:
        top_fraction: share of the directions that count.
    """

    def __init__(
        self,
        start: Float64Array,
        sigma: float,
        population: int,
        seed: int,
        learning_rate: float,
        top_fraction: float = 1.0,
    ) -> None:
        super().__init__(start, sigma, population, seed, learning_rate)
        self._kept = max(1, round(top_fraction * population / 2))

    def _step(self, values: NDArray[np.generic]) -> Float64Array:
        first, mirrored = np.split(finite(values), 2)
        best = np.argsort(-np.maximum(first, mirrored), kind="stable")[: self._kept]
        deviation = np.concatenate([first[best], mirrored[best]]).std()
        if deviation == 0.0:
            return np.zeros_like(self.centre)
        along = (first[best] - mirrored[best]) @ self._directions[best]
        step: Float64Array = self._learning_rate / (self._kept * deviation) * along
        return step
