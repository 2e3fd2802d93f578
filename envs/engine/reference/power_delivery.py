"""From the grid connection to the pools: every supply, meter, brake and breaker of a fleet.

A pool hangs under its site's grid connection, under the row that feeds its whole site if there is one, and under its
own row, if any. A pool is dark while any node above it is, and a braked node above a pool holds the pool's clock at the
node's brake clock or below. A brake acts on the boards by itself, without the latency with which a pool follows a new
clock. Boards in a warm room slow down without it too.
"""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.delay_line import DelayLine
from tokenfleet.envs.engine.reference.power_charges import PowerCharges
from tokenfleet.envs.engine.reference.power_node import PowerNode, Reading
from tokenfleet.envs.engine.reference.programme import Programme
from tokenfleet.envs.engine.reference.regulation import Regulation
from tokenfleet.envs.engine.reference.room import Room
from tokenfleet.envs.engine.reference.site_supply import SiteSupply
from tokenfleet.envs.engine.reference.training import Training
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.rows import Record


class PowerDelivery:
    """The power nodes of one environment and who hangs under them."""

    def __init__(self, arrays: FleetArrays, episode: Episode) -> None:
        """Begin with every node released and lit."""
        self.arrays = arrays
        self.episode = episode
        sites, rows = arrays.num_sites, arrays.num_rows
        self.rooms = [Room(arrays, s) for s in range(sites)]
        self.training = [Training(arrays, s) for s in range(sites)]
        self.supplies = [SiteSupply(arrays, episode, s) for s in range(sites)]
        self.charges = [PowerCharges(arrays, s) for s in range(sites)]
        self.programmes = [Programme(arrays, episode, s) for s in range(sites)]
        self.regulations = [Regulation(arrays, episode, s) for s in range(sites)]
        self.nodes = [PowerNode(arrays, index) for index in range(sites + rows)]
        rows_above = [
            [int(w) for w in (arrays.whole_site_row[p], arrays.row[p]) if w >= 0] for p in range(arrays.num_pools)
        ]
        self.above = [
            [self.nodes[int(arrays.site[p])], *(self.nodes[sites + w] for w in rows_above[p])]
            for p in range(arrays.num_pools)
        ]
        self.clocks = [DelayLine(int(ticks), 1.0) for ticks in arrays.clock_latency_ticks]
        self.pools_of_site = [[p for p in range(arrays.num_pools) if arrays.site[p] == s] for s in range(sites)]
        self.pools_of_row = [[p for p in range(arrays.num_pools) if w in rows_above[p]] for w in range(rows)]

    def is_dark(self, p: int, now_s: float) -> bool:
        """Whether pool `p` is without power."""
        return any(node.is_dark(now_s) for node in self.above[p])

    def clock_in_force(self, p: int, asked: float) -> float:
        """The clock fraction of pool `p` in this tick; call it once a tick with what is asked for now."""
        brakes = [node.brake_clock_fraction for node in self.above[p] if node.braked]
        return min([self.clocks[p].push(asked), *brakes, self.rooms[int(self.arrays.site[p])].clock_limit])

    def read_meters(
        self, tick: int, battery_power_w: np.ndarray, training_share: np.ndarray, outcome: Record
    ) -> list[int]:
        """Account the tick, from `it_energy_j` of the pools; the pools whose breakers trip at its end."""
        start_s, end_s = tick * self.arrays.tick_s, (tick + 1) * self.arrays.tick_s
        lost: list[int] = []
        for s, pools in enumerate(self.pools_of_site):
            it_energy_j, is_dark = self._it_energy_j(pools, outcome), self.nodes[s].is_dark(start_s)
            it_energy_j += self.training[s].run(float(training_share[s]), is_dark, self._training_speed(s), outcome)
            self.rooms[s].exchange_heat(it_energy_j, float(self.episode.outdoor_c[tick, s]), outcome)
            fixed_j = 0.0 if is_dark else float(self.episode.fixed_w[s]) * self.arrays.tick_s
            facility_j = it_energy_j * float(self.episode.pue[tick, s]) + fixed_j
            asked_w = 0.0 if is_dark else float(battery_power_w[s])
            energy_j = self.supplies[s].draw_j(facility_j, tick, asked_w, outcome)
            cap_w, brake_cap_w = float(self.episode.cap_w[tick, s]), float(self.episode.brake_cap_w[tick, s])
            rating_w = float(self.episode.rating_w[tick, s])
            if self._write(self.nodes[s].read(energy_j, cap_w, brake_cap_w, rating_w, end_s), outcome, "", s):
                lost += pools
            self.charges[s].account(energy_j, outcome)
            self.programmes[s].account(energy_j, tick, outcome)
            self.regulations[s].account(energy_j, tick, outcome)
        for w, pools in enumerate(self.pools_of_row):
            energy_j = self._it_energy_j(pools, outcome)
            cap_w, rating_w = float(self.episode.row_cap_w[tick, w]), float(self.episode.row_rating_w[tick, w])
            node = self.nodes[self.arrays.num_sites + w]
            if self._write(node.read(energy_j, cap_w, cap_w, rating_w, end_s), outcome, "row_", w):
                lost += pools
        return lost

    def _training_speed(self, s: int) -> float:
        """Clock of a site's training jobs in this tick, over the highest."""
        node = self.nodes[s]
        return min(self.rooms[s].clock_limit, node.brake_clock_fraction if node.braked else 1.0)

    def _it_energy_j(self, pools: list[int], outcome: Record) -> float:
        energy_j = 0.0
        for p in pools:
            energy_j += float(outcome["it_energy_j"][0, p])
        return energy_j

    def _write(self, reading: Reading, outcome: Record, prefix: str, column: int) -> bool:
        """One node's tick, into the columns that `prefix` names; True when its breaker trips."""
        outcome[f"{prefix}power_w"][0, column] = reading.power_w
        outcome[f"{prefix}above_cap_s"][0, column] = self.arrays.tick_s if reading.above else 0.0
        outcome[f"{prefix}over_cap_w"][0, column] = reading.over_cap_w
        outcome[f"{prefix}brakes"][0, column] = reading.brake_began
        outcome[f"{prefix}trips"][0, column] = reading.tripped
        return reading.tripped

    def write_view(
        self, now_s: float, site_cap_w: list[float], row_cap_w: list[float], outcome: Record, view: Record
    ) -> None:
        """What the policy sees of the nodes; the caps are those of the coming tick."""
        sites = self.arrays.num_sites
        for s, cap_w in enumerate(site_cap_w):
            view["site_power_w"][0, s] = outcome["power_w"][0, s]
            self._write_node(self.nodes[s], cap_w, now_s, outcome, view, "", s)
            self.supplies[s].write_view(outcome, view)
            self.rooms[s].write_view(view)
            self.training[s].write_view(view)
            self.charges[s].write_view(view)
            self.programmes[s].write_view(view)
            self.regulations[s].write_view(view)
        for w, cap_w in enumerate(row_cap_w):
            self._write_node(self.nodes[sites + w], cap_w, now_s, outcome, view, "row_", w)

    def _write_node(
        self, node: PowerNode, cap_w: float, now_s: float, outcome: Record, view: Record, prefix: str, column: int
    ) -> None:
        view[f"{prefix}power_over_cap"][0, column] = outcome[f"{prefix}power_w"][0, column] / cap_w
        view[f"{prefix}braked"][0, column] = node.braked
        view[f"{prefix}brake_timer_s"][0, column] = node.brake_timer_s
        view[f"{prefix}dark_remaining_s"][0, column] = max(node.dark_until_s - now_s, 0.0)
