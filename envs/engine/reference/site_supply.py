"""Who feeds a site: its solar panels first, then its battery, then the grid."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.battery import Battery
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.rows import Record


class SiteSupply:
    """The energy balance of site `s`, tick by tick."""

    def __init__(self, arrays: FleetArrays, episode: Episode, s: int) -> None:
        """Begin with the battery's initial charge."""
        self.arrays = arrays
        self.episode = episode
        self.s = s
        self.battery = Battery(arrays, s)

    def draw_j(self, facility_j: float, tick: int, asked_w: float, outcome: Record) -> float:
        """What the grid gives in a tick [J], never below 0: solar power that nobody can use is curtailed.

        Args:
            facility_j: what the facility consumes.
            tick: which one.
            asked_w: what the battery is asked for, positive to discharge.
            outcome: where the balance is written.
        """
        offered_j = float(self.episode.solar_w[tick, self.s]) * self.arrays.tick_s
        charge_j, discharge_j = self.battery.run(asked_w, max(facility_j - offered_j, 0.0))
        solar_j = min(offered_j, facility_j + charge_j)
        grid_j = max(facility_j + charge_j - discharge_j - solar_j, 0.0)
        outcome["energy_j"][0, self.s] = grid_j
        outcome["facility_energy_j"][0, self.s] = facility_j
        outcome["battery_charge_j"][0, self.s] = charge_j
        outcome["battery_discharge_j"][0, self.s] = discharge_j
        outcome["solar_j"][0, self.s] = solar_j
        return grid_j

    def write_view(self, outcome: Record, view: Record) -> None:
        """What the policy sees of battery and panels, where there are any."""
        battery, solar = int(self.arrays.battery[self.s]), int(self.arrays.solar[self.s])
        if battery >= 0:
            gave_j = outcome["battery_discharge_j"][0, self.s] - outcome["battery_charge_j"][0, self.s]
            capacity_j = float(self.arrays.battery_capacity_j[self.s])
            view["battery_charge_fraction"][0, battery] = self.battery.stored_j / capacity_j
            view["battery_power_w"][0, battery] = gave_j / self.arrays.tick_s
        if solar >= 0:
            view["solar_power_w"][0, solar] = outcome["solar_j"][0, self.s] / self.arrays.tick_s
