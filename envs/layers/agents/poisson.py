"""Arrivals without memory, and in bursts."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from tokenfleet.envs.layers.agents.lengths import SyntheticLengths
from tokenfleet.envs.layers.agents.streams import Demand, Split
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat


class PoissonStream(SyntheticLengths):
    """Arrivals without memory.

    Attributes:
        rate_rps: mean arrival rate [requests/s].
    """

    kind: Literal["poisson"] = "poisson"
    rate_rps: PositiveFloat

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.rate_rps

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        count = rng.poisson(self.rate_rps * horizon_s)
        return self.with_lengths(rng.uniform(0.0, horizon_s, count), rng)


class MmppStream(SyntheticLengths):
    """Bursts: a two-state Markov-modulated Poisson process.

    Attributes:
        quiet_rate_rps, burst_rate_rps: arrival rate in each state [requests/s].
        mean_quiet_s, mean_burst_s: mean stay in each state [s]; stays are exponential, and the first state is
            drawn by its share of time.
    """

    kind: Literal["mmpp"] = "mmpp"
    quiet_rate_rps: NonNegativeFloat
    burst_rate_rps: PositiveFloat
    mean_quiet_s: PositiveFloat
    mean_burst_s: PositiveFloat

    rate_keys = ("quiet_rate_rps", "burst_rate_rps")

    @property
    @override
    def mean_rate_rps(self) -> float:
        cycle_s = self.mean_quiet_s + self.mean_burst_s
        return (self.quiet_rate_rps * self.mean_quiet_s + self.burst_rate_rps * self.mean_burst_s) / cycle_s

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        bounds_s, rates_rps = self._states(rng, horizon_s)
        counts = rng.poisson(rates_rps * np.diff(bounds_s))
        start_s = np.repeat(bounds_s[:-1], counts)
        length_s = np.repeat(np.diff(bounds_s), counts)
        return self.with_lengths(start_s + length_s * rng.random(len(start_s)), rng)

    def _states(self, rng: np.random.Generator, horizon_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boundaries `[M + 1]` [s] and rates `[M]` [requests/s] of the states that cover the horizon."""
        bursting = bool(rng.random() < self.mean_burst_s / (self.mean_quiet_s + self.mean_burst_s))
        bounds_s, rates_rps = [0.0], []
        while bounds_s[-1] < horizon_s:
            stay_s = float(rng.exponential(self.mean_burst_s if bursting else self.mean_quiet_s))
            bounds_s.append(min(bounds_s[-1] + stay_s, horizon_s))
            rates_rps.append(self.burst_rate_rps if bursting else self.quiet_rate_rps)
            bursting = not bursting
        return np.array(bounds_s), np.array(rates_rps)
