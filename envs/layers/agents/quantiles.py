"""A positive quantity as measured: by its quantiles."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, Spec, UnitFraction

Probability = Annotated[float, Field(gt=0, lt=1)]
FloatArray = NDArray[np.float64]


class QuantileSpec(Spec):
    """A distribution through measured quantiles.

    The logarithm of the value is linear in the normal score between two quantiles: two points make a lognormal, more
    points any measured tail. No value lies outside of the first and the last quantile.

    Attributes:
        quantiles: probability -> value; the value must not fall as the probability rises.
        session_correlation: correlation of the normal scores of two draws in one session, 0 to 1.

    >>> wait_s = QuantileSpec(quantiles={0.1: 4.0, 0.5: 9.0, 0.9: 75.0})
    >>> wait_s.value(np.array([-5.0, 0.0])).round(2).tolist()
    [4.0, 9.0]
    """

    quantiles: dict[Probability, PositiveFloat] = Field(min_length=2)
    session_correlation: UnitFraction = 0.0

    @model_validator(mode="after")
    def _quantiles_rise(self) -> Self:
        pairs = sorted(self.quantiles.items())
        for (low, smaller), (high, larger) in pairwise(pairs):
            if smaller > larger:
                raise ValueError(f"quantiles must not fall: {smaller:g} at {low:g}, but {larger:g} at {high:g}")
        return self

    def value(self, score: FloatArray) -> FloatArray:
        """The quantity at normal scores of any shape."""
        return np.exp(np.interp(score, *self.knots))

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """`count` independent draws."""
        return self.value(rng.standard_normal(count))

    def sample_in_sessions(
        self, rng: np.random.Generator, session: NDArray[np.int64], shared: FloatArray | None = None
    ) -> FloatArray:
        """One draw for each entry of `session`, correlated where the entries are equal, `[R]`.

        The sessions' scores are standardised over the entries, so that these have the quantiles, however unequal the
        lengths of the sessions.

        Args:
            rng: source of chance.
            session: numbers from 0.
            shared: normal score of every session; drawn by default.
        """
        if shared is None:
            shared = rng.standard_normal(int(session.max(initial=-1)) + 1)
        common, own = shared[session], rng.standard_normal(len(session))
        common = (common - common.mean()) / max(float(common.std()), 1e-9) if len(shared) > 1 else common
        share = self.session_correlation
        return self.value(np.sqrt(share) * common + np.sqrt(1.0 - share) * own)

    @cached_property
    def mean(self) -> float:
        """Mean, by 4,001 equally likely scores."""
        normal = NormalDist()
        return float(self.value(np.array([normal.inv_cdf((k + 0.5) / 4001) for k in range(4001)])).mean())

    @cached_property
    def knots(self) -> tuple[FloatArray, FloatArray]:
        """Normal scores and logarithms of the quantiles."""
        pairs = sorted(self.quantiles.items())
        normal = NormalDist()
        scores = np.array([normal.inv_cdf(probability) for probability, _ in pairs])
        return scores, np.log(np.array([value for _, value in pairs]))


def correlated(rng: np.random.Generator, score: FloatArray, correlation: float) -> FloatArray:
    """Normal scores with this correlation to given ones."""
    own: FloatArray = correlation * score + np.sqrt(1.0 - correlation**2) * rng.standard_normal(len(score))
    return own
