"""The air at a site's servers in time; see `layers.facility.room` for what it stands for."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.rows import Record


class Room:
    """The room of site `s`; one that nobody models never gets warm."""

    def __init__(self, arrays: FleetArrays, s: int) -> None:
        """Begin at the supply's temperature."""
        self.arrays = arrays
        self.s = s
        self.air_c = float(arrays.room_supply_c[s])
        self.derated = False

    @property
    def clock_limit(self) -> float:
        """The highest clock fraction that it leaves."""
        return float(self.arrays.derate_clock_fraction[self.s]) if self.derated else 1.0

    def exchange_heat(self, it_energy_j: float, outdoor_c: float, outcome: Record) -> None:
        """A tick of `it_energy_j` under a sky of `outdoor_c`."""
        a, s = self.arrays, self.s
        outcome["derated_s"][0, s] = a.tick_s if self.derated else 0.0
        if a.room[s] < 0:
            return
        excess_k = max(outdoor_c - float(a.design_outdoor_c[s]), 0.0)
        target_c = float(a.room_supply_c[s]) + excess_k + float(a.room_k_per_w[s]) * (it_energy_j / a.tick_s)
        self.air_c += (target_c - self.air_c) * float(a.room_response[s])
        self.derated = self.air_c > float(a.room_release_c[s] if self.derated else a.room_limit_c[s])

    def write_view(self, view: Record) -> None:
        """What the policy sees of the room, where there is one."""
        index = int(self.arrays.room[self.s])
        if index >= 0:
            view["room_c"][0, index] = self.air_c
            view["derated"][0, index] = self.derated
