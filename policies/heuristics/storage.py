"""Battery rules."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.fields import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import UnitFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Float64Array, Storage


class Rest(Storage):
    """Batteries neither give nor take."""

    def __init__(self, scenario: Scenario) -> None:
        self._sites = len(scenario.sites)

    def power_w(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Storage.power_w`."""
        return np.zeros((len(view.rows), self._sites)), state


class CarryEvents(Storage):
    """Batteries carry the fleet through low caps, and are charged with what the usual cap leaves free.

    While the cap is below the contract a battery gives what makes up for the difference, as long as it lasts, so that
    clocks may stay where they were. Else it takes what is left under `1 - margin` of the cap.

    Args:
        scenario: of the fleet.
        margin: share of the cap that charging leaves free.
    """

    fields = ("cap_w", "announced_cap_w", "site_power_w", "battery_power_w", "battery_charge_fraction")

    def __init__(self, scenario: Scenario, margin: UnitFraction = 0.1) -> None:
        self._sites, batteries = len(scenario.sites), scenario.batteries
        self._at = [list(scenario.sites).index(name) for name in batteries]
        self._most_w = np.array([battery.power_w for battery in batteries.values()])
        self._contract_w = np.array([scenario.contract_w(name) for name in batteries])
        self._margin = margin

    def power_w(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Storage.power_w`."""
        asked_w = np.zeros((len(view.rows), self._sites))
        if self._at:
            cap_w = view["cap_w"][:, self._at].astype(np.float64)
            missing_w = self._contract_w - cap_w
            others_w = view["site_power_w"][:, self._at] + view["battery_power_w"]
            free_w = np.maximum((1.0 - self._margin) * cap_w - others_w, 0.0)
            is_low = missing_w > 0.01 * self._contract_w
            asked_w[:, self._at] = np.where(
                is_low, np.minimum(missing_w, self._most_w), -np.minimum(free_w, self._most_w)
            )
        return asked_w, state
