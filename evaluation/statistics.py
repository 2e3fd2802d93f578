"""Estimates with honest intervals: mean, IQM, paired difference, probability of improvement.

A policy's scores are a matrix `[T, E]`: T training seeds (1 for a heuristic) by E episodes that every policy meets. One
bootstrap serves every statistic: episodes are drawn with replacement, *the same draw for every policy* (they are
paired), and within each policy its training seeds are drawn with replacement (policies are the strata). The intervals
are percentile intervals, so they speak about new episodes and about new training runs of the same algorithm. With few
of either they are too narrow, as every bootstrap is; `docs/evaluation.md` says by how much.

Definitions of IQM and probability of improvement: Agarwal et al., "Deep reinforcement learning at the edge of the
statistical precipice", NeurIPS 2021, arXiv 2108.13264. Resampling both ways: Owen, "The pigeonhole bootstrap", Annals
of Applied Statistics 1(2), 2007, doi 10.1214/07-AOAS122.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

RESAMPLES = 2000
"""Enough that another seed moves the ends of a 95 % interval by about 3 % of its half-width."""

_CHUNK_NUMBERS = 4_000_000  # most float64 in one temporary, 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; NaN throughout where there is nothing to estimate from."""

    estimate: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Estimate and ends, each by the format of one number.

        >>> f"{Interval(1.0, -0.25, 2.0):+.1f}"
        '+1.0 [-0.2, +2.0]'
        """
        return f"{self.estimate:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0.0 or self.high < 0.0


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle half: the lowest and the highest quarter of the values are cut, rounded down.

    >>> interquartile_mean([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])
    3.5
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    return float(_weighted_interquartile_mean(values, np.ones((1, values.size)))[0])


def probability_of_improvement(scores: ArrayLike, reference: ArrayLike) -> float:
    """How probable it is that a run of one policy beats a run of another on the same episode.

    Averaged over episodes, and within an episode over all pairs of training seeds; a tie counts one half.

    Args:
        scores: `[T, E]`, or `[E]` for one training seed.
        reference: `[U, E]` or `[E]`, the same episodes.

    >>> probability_of_improvement([3.0, 1.0, 2.0], [1.0, 1.0, 5.0])
    0.5
    """
    return _mean_of(_wins(_matrix(scores), _matrix(reference)).mean(axis=(0, 1))[None])


class PairedBootstrap:
    """One set of resamples of E episodes, shared by every policy and every statistic of a study.

    Args:
        episodes: E.
        resamples: B, how many times the study is redrawn.
        confidence: coverage of the intervals.
        seed: of the resampling; the same scores and seed give the same interval.

    Raises:
        ValueError: no episodes; in its methods, scores of another number of episodes.
    """

    def __init__(self, episodes: int, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0) -> None:
        if episodes < 1:
            raise ValueError(f"a bootstrap needs at least one episode (got {episodes})")
        self.episodes = episodes
        self.resamples = resamples
        self.confidence = confidence
        self.seed = seed
        rng = np.random.default_rng([seed, 0])
        self._weight = _counts(rng.integers(episodes, size=(resamples, episodes)), episodes)  # [B, E]

    def mean(self, scores: ArrayLike) -> Interval:
        """Mean over episodes of the mean over training seeds.

        Args:
            scores: `[T, E]` or `[E]`; NaN where an episode has no such number.
        """
        matrix = self._checked(scores)
        return self._interval(_mean_of(matrix), self._average(self._per_episode(matrix, stratum=1)))

    def difference(self, scores: ArrayLike, reference: ArrayLike) -> Interval:
        """Mean of the paired differences `scores - reference` over the episodes that both have a number for."""
        first, second = self._checked(scores), self._checked(reference)
        estimate = _mean_of(_seed_mean(first)[None] - _seed_mean(second)[None])
        resampled = self._per_episode(first, stratum=1) - self._per_episode(second, stratum=2)
        return self._interval(estimate, self._average(resampled))

    def probability_of_improvement(self, scores: ArrayLike, reference: ArrayLike) -> Interval:
        """`probability_of_improvement` with its interval."""
        first, second = self._checked(scores), self._checked(reference)
        wins = _wins(first, second)  # [T, U, E]
        estimate = _mean_of(wins.mean(axis=(0, 1))[None])
        if wins.shape[:2] == (1, 1):  # one training seed each: nothing to draw but episodes
            return self._interval(estimate, self._average(wins[0]))
        ours, theirs = self._seed_weights(len(first), 1), self._seed_weights(len(second), 2)
        averaged = [
            np.einsum("bu,bue->be", theirs[rows], np.einsum("bt,tue->bue", ours[rows], wins))
            for rows in self._chunks(len(second) * self.episodes)
        ]
        return self._interval(estimate, self._average(np.concatenate(averaged)))

    def interquartile_mean(self, scores: ArrayLike) -> Interval:
        """IQM over all episodes and training seeds; values that are NaN take no part."""
        matrix = self._checked(scores)
        seeds = self._seed_weights(len(matrix), 1) * len(matrix)
        resampled = [
            _weighted_interquartile_mean(matrix.ravel(), _outer(seeds[rows], self._weight[rows]))
            for rows in self._chunks(matrix.size)
        ]
        return self._interval(interquartile_mean(matrix), np.concatenate(resampled))

    def _checked(self, scores: ArrayLike) -> Float64Array:
        matrix = _matrix(scores)
        if matrix.shape[1] != self.episodes:
            raise ValueError(f"scores of {self.episodes} episodes are needed (got {matrix.shape[1]})")
        return matrix

    def _interval(self, estimate: float, resampled: Float64Array) -> Interval:
        kept = resampled[np.isfinite(resampled)]
        if not len(kept):
            return Interval(estimate, np.nan, np.nan)
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(kept, [tail, 1.0 - tail])
        return Interval(estimate, float(low), float(high))

    def _seed_draws(self, count: int, stratum: int) -> Int64Array:
        """Training seeds drawn for each resample, `[B, T]`; `stratum` keeps two policies' draws independent."""
        rng = np.random.default_rng([self.seed, stratum])
        return rng.integers(count, size=(self.resamples, count))

    def _seed_weights(self, count: int, stratum: int) -> Float64Array:
        """How much each training seed counts in each resample, `[B, T]`, rows summing to 1."""
        return _counts(self._seed_draws(count, stratum), count) / count

    def _per_episode(self, matrix: Float64Array, stratum: int) -> Float64Array:
        """Mean over the drawn training seeds of each episode, `[B, E]`, or `[1, E]` for one seed."""
        if len(matrix) == 1:
            return matrix
        weight = self._seed_weights(len(matrix), stratum)
        present = np.isfinite(matrix)
        total = np.einsum("bt,te->be", weight, np.where(present, matrix, 0.0))
        return _ratio(total, np.einsum("bt,te->be", weight, present.astype(np.float64)))

    def _average(self, per_episode: Float64Array) -> Float64Array:
        """Mean over the drawn episodes, `[B]`, of values `[B, E]` or `[1, E]`; NaN takes no part."""
        present = np.isfinite(per_episode).astype(np.float64)
        values = np.where(present > 0.0, per_episode, 0.0)
        if len(values) == 1:
            return _ratio(_dot(self._weight, values[0]), _dot(self._weight, present[0]))
        return _ratio(np.einsum("be,be->b", self._weight, values), np.einsum("be,be->b", self._weight, present))

    def _chunks(self, numbers_per_resample: int) -> Iterator[slice]:
        step = max(1, _CHUNK_NUMBERS // max(1, numbers_per_resample))
        for start in range(0, self.resamples, step):
            yield slice(start, min(start + step, self.resamples))


def _matrix(scores: ArrayLike) -> Float64Array:
    return np.atleast_2d(np.asarray(scores, dtype=np.float64))


def _dot(rows: Float64Array, column: Float64Array) -> Float64Array:
    """A matrix times a vector without BLAS, whose threads cost more than they save at this size."""
    product: Float64Array = np.einsum("be,e->b", rows, column)
    return product


def _counts(drawn: Int64Array, choices: int) -> Float64Array:
    """How often each of `choices` was drawn, row by row: `[B, n]` to `[B, choices]`."""
    flat = drawn + choices * np.arange(len(drawn))[:, None]
    return np.bincount(flat.ravel(), minlength=len(drawn) * choices).reshape(-1, choices).astype(np.float64)


def _ratio(total: Float64Array, weight: Float64Array) -> Float64Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0.0, total / weight, np.nan)


def _seed_mean(matrix: Float64Array) -> Float64Array:
    """Mean over training seeds of each episode, `[E]`; NaN where no seed has a number."""
    present = np.isfinite(matrix)
    return _ratio(np.where(present, matrix, 0.0).sum(axis=0), present.sum(axis=0).astype(np.float64))


def _mean_of(matrix: Float64Array) -> float:
    per_episode = _seed_mean(matrix)
    kept = per_episode[np.isfinite(per_episode)]
    return float(kept.mean()) if len(kept) else float("nan")


def _wins(scores: Float64Array, reference: Float64Array) -> Float64Array:
    """1 where a run beats the reference's, 1/2 at a tie, `[T, U, E]`; NaN where either has no number."""
    return 0.5 * (1.0 + np.sign(scores[:, None, :] - reference[None, :, :]))


def _outer(seeds: Float64Array, episodes: Float64Array) -> Float64Array:
    """How often each (training seed, episode) pair was drawn: `[B, T]` and `[B, E]` to `[B, T * E]`."""
    if seeds.shape[1] == 1:
        return episodes
    return (seeds[:, :, None] * episodes[:, None, :]).reshape(len(episodes), -1)


def _weighted_interquartile_mean(values: Float64Array, counts: Float64Array) -> Float64Array:
    """IQM of each of B samples that hold `values[n]` `counts[b, n]` times, `[B]`."""
    order = np.argsort(values)[: np.isfinite(values).sum()]
    if not len(order):
        return np.full(len(counts), np.nan)
    ranked = values[order]
    upto = np.cumsum(counts[:, order], axis=1)
    size = upto[:, -1].copy()
    cut = np.floor(size / 4.0 + 1e-9)
    # How many of the kept values stand at or before each position; summing by parts needs no second difference.
    kept = np.clip(upto, cut[:, None], (size - cut)[:, None], out=upto)[:, :-1]
    total = (size - cut) * ranked[-1] - cut * ranked[0] - _dot(kept, np.diff(ranked))
    return _ratio(total, size - 2.0 * cut)
