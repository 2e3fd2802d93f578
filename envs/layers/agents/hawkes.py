"""Arrivals that draw others after them: a Hawkes process."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from tokenfleet.envs.layers.agents.lengths import SyntheticLengths
from tokenfleet.envs.layers.agents.streams import Demand, Split
from tokenfleet.envs.spec import PositiveFloat

_WARM_UP_RELAXATIONS = 10.0


class HawkesStream(SyntheticLengths):
    """Arrivals that raise the rate of later ones.

    Every request is followed by a Poisson number of others, `branching_ratio` on average, each an exponential time
    later; these are followed by others in turn. The defaults are fitted to one hour of production chat (Azure 2023;
    `python -m calibration.fit.demand.arrivals`).

    Attributes:
        rate_rps: mean arrival rate, all generations counted [requests/s].
        branching_ratio: mean number of requests that one draws directly after it; 0 is a Poisson process.
        decay_s: mean delay of these [s].

    References:
        A. G. Hawkes, "Spectra of some self-exciting and mutually exciting point processes", Biometrika 58 (1971).
    """

    kind: Literal["hawkes"] = "hawkes"
    rate_rps: PositiveFloat
    branching_ratio: float = Field(default=0.842, ge=0, lt=1)
    decay_s: PositiveFloat = 8.88

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.rate_rps

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`; the process has been running long enough to be stationary."""
        warm_up_s = _WARM_UP_RELAXATIONS * self.decay_s / (1.0 - self.branching_ratio)
        founders = rng.poisson(self.rate_rps * (1.0 - self.branching_ratio) * (warm_up_s + horizon_s))
        born_s = rng.uniform(-warm_up_s, horizon_s, founders)
        generations = [born_s]
        while len(born_s):
            born_s = self._followers(rng, born_s, horizon_s)
            generations.append(born_s)
        arrival_s = np.concatenate(generations)
        return self.with_lengths(arrival_s[arrival_s >= 0], rng)

    def _followers(
        self, rng: np.random.Generator, born_s: NDArray[np.float64], horizon_s: float
    ) -> NDArray[np.float64]:
        born_s = np.repeat(born_s, rng.poisson(self.branching_ratio, len(born_s)))
        born_s = born_s + rng.exponential(self.decay_s, len(born_s))
        return born_s[born_s < horizon_s]


def hawkes_fano_factor(branching_ratio: float, decay_s: float, window_s: float) -> float:
    """Variance over mean of the counts in windows of a stationary Hawkes process with an exponential kernel.

    With n the branching ratio and g = (1 - n) / decay: F(w) = 1 + (1 / (1 - n)^2 - 1) (1 - (1 - exp(-g w)) / (g w)).

    >>> round(hawkes_fano_factor(0.5, 2.0, 1e9), 6), round(hawkes_fano_factor(0.5, 2.0, 1e-9), 6)
    (4.0, 1.0)
    """
    relaxations = (1.0 - branching_ratio) / decay_s * window_s
    approached = 1.0 + math.expm1(-relaxations) / relaxations
    return 1.0 + (1.0 / (1.0 - branching_ratio) ** 2 - 1.0) * approached
