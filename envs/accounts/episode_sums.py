"""What episodes add up to: the numbers that every metric is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.rows import Record

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class EpisodeSums:
    """What n episodes add up to, `[n]` or `[n, ...]` each.

    Attributes:
        outcome: sums of the engine's outcomes over the episode, `outcome["arrived"]` is `[n, K]`.
        duration_s: since each episode began [s].
        reward: sum of the rewards.
        in_slo_usd, late_usd: earned within the SLO, and late [USD].
        lost_usd: owed for what was lost, negative [USD].
        electricity_usd: the bill [USD].
        carbon_g: emissions of the electricity [g].
        carbon_usd: of the bill, the price of carbon [USD].
        peak_over_cap_w: furthest that any meter stood above its cap [W].
    """

    outcome: Record
    duration_s: Float64Array
    reward: Float64Array
    in_slo_usd: Float64Array
    late_usd: Float64Array
    lost_usd: Float64Array
    electricity_usd: Float64Array
    carbon_g: Float64Array
    carbon_usd: Float64Array
    peak_over_cap_w: Float64Array

    def total(self, *names: str) -> Float64Array:
        """Sum of outcomes over sites, rows, pools or classes, `[n]`."""
        sums = [self.outcome[name].sum(axis=1) for name in names]
        total: Float64Array = sum(sums[1:], start=sums[0])
        return total

    def ended_requests(self) -> Float64Array:
        """Requests that were completed, refused or expired, `[n, K]`."""
        names = ("completed_in_slo", "completed_late", "refused", "expired")
        ended: Float64Array = sum((self.outcome[name] for name in names[1:]), start=self.outcome[names[0]])
        return ended
