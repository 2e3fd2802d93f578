"""Layer 3, failures: GPUs break and are repaired, and a server takes down every replica that stands on it.

References:
    A. Grattafiori et al., "The Llama 3 Herd of Models", 2024, arXiv:2407.21783: 419 unexpected interruptions in 54 days
    of training on 16,384 H100, one in about 50,700 GPU-hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from tokenfleet.envs.units import SECONDS_PER_HOUR


class FailureSpec(Spec):
    """How often servers break, and for how long.

    Attributes:
        gpu_hours_per_failure: mean GPU time between failures [h]; Llama 3 training.
        rate_factor: multiplies the rate, for scenarios that pack a bad day into minutes.
        gpus_per_server: GPUs that fail together; an HGX board has eight.
        repair_median_s: median time from a failure until the server may boot [s]; assumption, a restart by automation.
        repair_sigma: standard deviation of the logarithm of that time; assumption.
    """

    gpu_hours_per_failure: PositiveFloat = 50_700.0
    rate_factor: NonNegativeFloat = 1.0
    gpus_per_server: PositiveInt = 8
    repair_median_s: PositiveFloat = 1800.0
    repair_sigma: NonNegativeFloat = 0.8

    def server_rate_per_s(self, gpus: int) -> float:
        """Failures per second of a server of `gpus` GPUs.

        >>> round(FailureSpec().server_rate_per_s(8) * 86400 * 2048)  # a day of 16,384 GPUs
        8
        """
        return self.rate_factor * gpus / (self.gpu_hours_per_failure * SECONDS_PER_HOUR)


class Servers(NamedTuple):
    """A pool as failures see it: `replicas` of `gpus` GPUs each, numbered from `first_replica`."""

    first_replica: int
    replicas: int
    gpus: int


@dataclass(frozen=True)
class FailureTable:
    """Replicas that break, in order of time; F of them.

    Attributes:
        tick: the tick at whose start it breaks, `[F]`.
        replica: index over all pools, `[F]`.
        repaired_s: when it may be woken again, `[F]` [s].
    """

    tick: NDArray[np.int64]
    replica: NDArray[np.int64]
    repaired_s: NDArray[np.float64]

    @classmethod
    def none(cls) -> FailureTable:
        """Nothing breaks."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    def columns(self) -> tuple[list[int], list[int], list[float]]:
        """As plain numbers."""
        return self.tick.tolist(), self.replica.tolist(), self.repaired_s.tolist()


def draw_failures(
    spec: FailureSpec, pools: list[Servers], tick_s: float, horizon_ticks: int, rng: np.random.Generator
) -> FailureTable:
    """The failures of one episode, all replicas of a server together, each at the start of the tick that follows it.

    Args:
        spec: rates and repair times.
        pools: the fleet; a replica that spans several servers breaks when any of them does.
        tick_s: length of a tick [s].
        horizon_ticks: length of the episode.
        rng: all chance comes from it.
    """
    rows: list[tuple[int, int, float]] = []
    for pool in pools:
        together = max(spec.gpus_per_server // pool.gpus, 1)
        for first in range(0, pool.replicas, together):
            standing = range(first, min(first + together, pool.replicas))
            rate_per_s = spec.server_rate_per_s(len(standing) * pool.gpus)
            for time_s in rng.uniform(0.0, horizon_ticks * tick_s, rng.poisson(rate_per_s * horizon_ticks * tick_s)):
                tick = int(np.ceil(time_s / tick_s))
                repair_s = spec.repair_median_s * float(np.exp(spec.repair_sigma * rng.standard_normal()))
                if tick < horizon_ticks:  # what breaks within the last tick shows in none
                    rows += [(tick, pool.first_replica + replica, tick * tick_s + repair_s) for replica in standing]
    ticks, replicas, repaired_s = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    return FailureTable(np.array(ticks, np.int64), np.array(replicas, np.int64), np.array(repaired_s, np.float64))
