"""What a ledger is made from: the sums of an episode, and the rates of its scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

PRICED = (
    "energy_j",
    "facility_energy_j",
    "busy_energy_j",
    "idle_energy_j",
    "asleep_energy_j",
    "host_energy_j",
    "training_energy_j",
)
"""Outcomes of which a ledger needs the cost and the emissions too, at the price and intensity of each tick."""


@dataclass(frozen=True)
class LedgerRates:
    """What a scenario says of prices and shares; K classes, S sites, P pools.

    Attributes:
        late_value_fraction, lost_penalty_fraction: `[K]`.
        usd_per_input_token, usd_per_output_token, cached_input_fraction_of_price: `[K]`.
        lowest_price_factor, highest_price_factor: `[K]`.
        charge_efficiency, discharge_efficiency: of batteries, `[S]`.
        battery_change_j: lowest and highest change of the stored energy since the episode began, `[2, S]`.
        rent_usd_per_s: of the boards of each pool and of each site's training jobs; 0 where a board has no rental price
            [USD/s].
        egress_usd_per_token: of a token on its way to a client, `[S]`.
        site_usd_per_byte: of traffic from site to site.
    """

    late_value_fraction: Float64Array
    lost_penalty_fraction: Float64Array
    usd_per_input_token: Float64Array
    usd_per_output_token: Float64Array
    cached_input_fraction_of_price: Float64Array
    lowest_price_factor: Float64Array
    highest_price_factor: Float64Array
    charge_efficiency: Float64Array
    discharge_efficiency: Float64Array
    battery_change_j: Float64Array
    rent_usd_per_s: Float64Array
    egress_usd_per_token: Float64Array
    site_usd_per_byte: float


@dataclass(frozen=True)
class Sums:
    """What an episode came to.

    Attributes:
        total: outcomes by name, summed over the ticks, along the axis of each: `[S]`, `[P]`, `[K]` and so on.
        usd, grams: the outcomes of `PRICED` at price and carbon intensity of each tick, summed over the episode.
        duration_s: how long it lasted.
        carbon_usd: of the bill, the price of carbon.
        net_value_usd: what the reward says it was worth.
        in_flight_requests, in_flight_tokens: asked for and not ended, from the log of its requests.
    """

    total: Mapping[str, Float64Array]
    usd: Mapping[str, float]
    grams: Mapping[str, float]
    duration_s: float
    net_value_usd: float
    in_flight_requests: int
    in_flight_tokens: int
    carbon_usd: float = 0.0

    def sum(self, *names: str) -> float:
        """Sum of outcomes over all entries of their axes."""
        return float(sum(self.total[name].sum() for name in names))

    def tokens(self, *endings: str) -> float:
        """Prompt and output tokens of requests by how they ended."""
        return self.sum(*(f"{kind}_tokens_{ending}" for ending in endings for kind in ("prompt", "output")))
