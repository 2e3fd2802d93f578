"""Battery rules."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat, UnitFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import BoolArray, Float64Array, Storage


class Rest(Storage):
    """Batteries neither give nor take."""

    def __init__(self, scenario: Scenario) -> None:
        self._sites = len(scenario.sites)

    def power_w(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Storage.power_w`."""
        return np.zeros((len(view.rows), self._sites)), state


class CarryEvents(Storage):
    """Batteries carry the fleet through low caps, and move energy from cheap hours to dear ones.

    While the cap is more than 1 % below the contract, a battery makes up for the difference as long as its energy
    lasts, so that clocks may stay as they were. Otherwise the battery trades: if the dearest expected price is more
    than `spread` times the cheapest, it gives while the price is within `near` of the dearest and takes while the price
    is within `near` of the cheapest, no more than is free under `1 - margin` of the cap. Energy that is left at the end
    is worth nothing, so the battery gives all of it before the episode ends.

    Args:
        scenario: of the fleet.
        margin: share of the cap that charging leaves free.
        near: share of a price within which another counts as the same.
        spread: ratio of dearest to cheapest price above which moving energy pays for the battery's losses.
    """

    fields = (
        "cap_w",
        "site_power_w",
        "battery_power_w",
        "battery_charge_fraction",
        "price_usd_per_mwh",
        "price_forecast_usd_per_mwh",
        "time_fraction",
    )

    def __init__(
        self,
        scenario: Scenario,
        margin: UnitFraction = 0.1,
        near: UnitFraction = 0.1,
        spread: PositiveFloat = 1.4,
    ) -> None:
        self._sites, batteries = len(scenario.sites), scenario.batteries
        self._at = [list(scenario.sites).index(name) for name in batteries]
        self._most_w = np.array([battery.power_w for battery in batteries.values()])
        self._energy_j = np.array([battery.energy_j for battery in batteries.values()])
        self._contract_w = np.array([scenario.contract_w(name) for name in batteries])
        self._horizon_s = scenario.horizon_ticks * scenario.tick_s
        self._margin, self._near, self._spread = margin, near, spread

    def power_w(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Storage.power_w`."""
        asked_w = np.zeros((len(view.rows), self._sites))
        if self._at:
            cap_w = view["cap_w"][:, self._at].astype(np.float64)
            missing_w = self._contract_w - cap_w
            is_low = missing_w > 0.01 * self._contract_w
            others_w = view["site_power_w"][:, self._at] + view["battery_power_w"]
            free_w = np.minimum(np.maximum((1.0 - self._margin) * cap_w - others_w, 0.0), self._most_w)
            gives, takes = self._trades(view)
            calm_w = np.where(gives, self._most_w, np.where(takes, -free_w, 0.0))
            asked_w[:, self._at] = np.where(is_low, np.minimum(missing_w, self._most_w), calm_w)
        return asked_w, state

    def _trades(self, view: Record) -> tuple[BoolArray, BoolArray]:
        """Whether each battery gives, and takes, `[N, B]`."""
        now = view["price_usd_per_mwh"][:, self._at].astype(np.float64)
        ahead = view["price_forecast_usd_per_mwh"][:, self._at].astype(np.float64)
        dearest = np.maximum(ahead.max(axis=2, initial=-np.inf), now)
        cheapest = np.minimum(ahead.min(axis=2, initial=np.inf), now)
        pays = dearest > self._spread * np.maximum(cheapest, 1.0)
        left_s = (1.0 - view["time_fraction"]) * self._horizon_s
        ends = left_s[:, None] <= view["battery_charge_fraction"] * self._energy_j / self._most_w
        gives: BoolArray = ends | (pays & (now >= (1.0 - self._near) * dearest))
        takes: BoolArray = ~gives & pays & (now <= (1.0 + self._near) * np.maximum(cheapest, 1.0))
        return gives, takes
