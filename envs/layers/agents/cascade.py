"""A rate that swings on many time scales at once: the product of factors, each redrawn after exponential times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, Spec

FloatArray = NDArray[np.float64]


class SpellsSpec(Spec):
    """Traffic that is on and off: busy spells and pauses of exponential length.

    Attributes:
        mean_busy_s: mean length of a spell in which requests come [s].
        mean_pause_s: mean length of a pause between two spells [s].
    """

    mean_busy_s: PositiveFloat
    mean_pause_s: PositiveFloat

    @classmethod
    def of(cls, busy_share: float, relaxation_s: float) -> Self:
        """Spells that are on for this share of the time and forget after `relaxation_s`."""
        return cls(mean_busy_s=relaxation_s / (1.0 - busy_share), mean_pause_s=relaxation_s / busy_share)

    @property
    def busy_share(self) -> float:
        """Share of the time in which requests come."""
        return self.mean_busy_s / (self.mean_busy_s + self.mean_pause_s)

    @property
    def relaxation_s(self) -> float:
        """How long the process takes to forget its state [s]: its autocovariance decays as exp(-t / relaxation)."""
        return self.mean_busy_s * self.mean_pause_s / (self.mean_busy_s + self.mean_pause_s)


class CascadeSpec(Spec):
    """A rate around its mean: on and off, times log-normal factors of many time scales.

    The factor of scale s has mean 1 and the variance `swings[s]`; it keeps its value for an exponential time of mean s
    and is then drawn anew, independent of what it was. So its autocovariance is `swings[s]` exp(-t / s), and that of
    the product is known in closed form. This is the Poisson multifractal with a free variance for every scale.

    Attributes:
        spells: busy spells and pauses; none by default.
        swings: time scale [s] -> variance of the factor of that scale.

    References:
        L. Calvet, A. Fisher, "Forecasting multifractal volatility", Journal of Econometrics 105 (2001).
    """

    spells: SpellsSpec | None = None
    swings: dict[PositiveFloat, PositiveFloat] = Field(default_factory=dict)

    @property
    def components(self) -> tuple[FloatArray, FloatArray]:
        """Relaxation time [s] and variance of every factor, `[K]`, the spells' first."""
        on_off = [(self.spells.relaxation_s, 1.0 / self.spells.busy_share - 1.0)] if self.spells else []
        pairs = np.array([*on_off, *sorted(self.swings.items())], dtype=np.float64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def sample(self, rng: np.random.Generator, horizon_s: float) -> tuple[FloatArray, FloatArray]:
        """The course of the rate over its mean, constant between two knots.

        Returns:
            Knots `[M + 1]` from 0 to the horizon [s], and the factor between each two `[M]`.
        """
        courses = [self._swing(rng, scale_s, variance, horizon_s) for scale_s, variance in sorted(self.swings.items())]
        if self.spells:
            courses.append(_spells(rng, self.spells, horizon_s))
        begins_s = np.unique(np.concatenate([[0.0], *(begin_s for begin_s, _ in courses)]))
        factor = np.ones(len(begins_s))
        for begin_s, value in courses:
            factor *= value[np.searchsorted(begin_s, begins_s, side="right") - 1]
        return np.append(begins_s, horizon_s), factor

    @staticmethod
    def _swing(
        rng: np.random.Generator, scale_s: float, variance: float, horizon_s: float
    ) -> tuple[FloatArray, FloatArray]:
        """Beginnings and values of one factor."""
        changes_s = np.sort(rng.uniform(0.0, horizon_s, rng.poisson(horizon_s / scale_s)))
        square = np.log1p(variance)
        value = np.exp(np.sqrt(square) * rng.standard_normal(len(changes_s) + 1) - 0.5 * square)
        return np.append(0.0, changes_s), value


def _spells(rng: np.random.Generator, spells: SpellsSpec, horizon_s: float) -> tuple[FloatArray, FloatArray]:
    """Beginnings of busy spells and pauses, and the factor in each."""
    busy = bool(rng.random() < spells.busy_share)
    cycle_s = spells.mean_busy_s + spells.mean_pause_s
    begins_s = np.zeros(1)
    while begins_s[-1] < horizon_s:
        pairs = int((horizon_s - begins_s[-1]) / cycle_s) + 4
        means_s = (spells.mean_busy_s, spells.mean_pause_s) if busy else (spells.mean_pause_s, spells.mean_busy_s)
        stays_s = rng.standard_exponential((pairs, 2)) * means_s
        begins_s = np.append(begins_s, begins_s[-1] + np.cumsum(stays_s))
    on = np.arange(len(begins_s)) % 2 == (0 if busy else 1)
    inside = begins_s < horizon_s
    return begins_s[inside], np.where(on, 1.0 / spells.busy_share, 0.0)[inside]


def mean_variance(scales_s: FloatArray, variances: FloatArray, window_s: FloatArray) -> FloatArray:
    """Variance of the rate's mean over windows, its long-run mean being 1.

    With c(t) = prod_k (1 + v_k exp(-t / s_k)) - 1, it is V(w) = 2 / w^2 times the integral of (w - t) c(t) from 0 to w.
    The product is a sum of exponentials, one for every set of factors.

    Args:
        scales_s: relaxation time of every factor, `[K]` [s].
        variances: of every factor, `[K]`.
        window_s: lengths of windows, `[W]` [s].

    Returns:
        `[W]`; a Fano factor is 1 + (requests in a window) times it.

    >>> mean_variance(np.array([2.0]), np.array([3.0]), np.array([1e-6, 1e6])).round(3).tolist()
    [3.0, 0.0]
    """
    weight, decay = np.ones(1), np.zeros(1)
    for scale_s, variance in zip(scales_s.tolist(), variances.tolist(), strict=True):
        weight = np.concatenate([weight, weight * variance])
        decay = np.concatenate([decay, decay + 1.0 / scale_s])
    relaxations = np.maximum(np.multiply.outer(np.asarray(window_s, np.float64), decay[1:]), 1e-9)
    shrunk = np.where(
        relaxations < 1e-4, 1.0 - relaxations / 3.0, 2.0 * (relaxations + np.expm1(-relaxations)) / relaxations**2
    )
    return np.asarray(shrunk @ weight[1:])
