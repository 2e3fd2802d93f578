"""What a demand-response programme pays a site and what it is owed; see `layers.power.programme`."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.meter import Meter
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.power.programme import CallPhase
from tokenfleet.envs.rows import Record


class Programme:
    """The programme of site `s`, whose place among such sites is `place`."""

    def __init__(self, arrays: FleetArrays, episode: Episode, s: int) -> None:
        """Begin with nothing metered."""
        self.s = s
        self.place = int(arrays.programme[s])
        self.episode = episode
        self.tick_s = arrays.tick_s
        self.availability_usd = float(arrays.availability_usd_per_s[s]) * arrays.tick_s
        self.activation_usd_per_j = float(arrays.activation_usd_per_j[s])
        self.damages_usd_per_j = float(arrays.damages_usd_per_j[s])
        self.rebound_level = float(arrays.rebound_level[s])
        self.rebound_usd_per_j = float(arrays.rebound_usd_per_j[s])
        self.contract_w = float(arrays.contract_w[s])
        self.follows_meter = arrays.baseline_ticks[s] > 0
        self.meter = Meter(int(arrays.baseline_ticks[s]), arrays.tick_s)
        self.baseline_w = float(arrays.initial_baseline_w[s])
        self.delivered_w = 0.0

    def account(self, energy_j: float, tick: int, outcome: Record) -> None:
        """Pay and charge for a tick, whose meters have been read."""
        if self.place < 0:
            return
        phase = float(self.episode.call_phase[tick, self.place])
        called_w = float(self.episode.called_w[tick, self.place])
        self.delivered_w = min(max(self.baseline_w - energy_j / self.tick_s, 0.0), called_w)
        over_j = max(energy_j - (self.contract_w - called_w) * self.tick_s, 0.0) if called_w > 0.0 else 0.0
        rebound_w = self.baseline_w * self.rebound_level
        rebound_j = max(energy_j - rebound_w * self.tick_s, 0.0) if phase == CallPhase.REBOUND else 0.0
        self._write(outcome, called_w, over_j, rebound_j)
        held_over_w = max(float(outcome["power_w"][0, self.s]) - float(self.episode.brake_cap_w[tick, self.s]), 0.0)
        outcome["unbraked_over_cap_w"][0, self.place] = float(outcome["over_cap_w"][0, self.s]) - held_over_w
        if phase == CallPhase.NONE and self.follows_meter:
            self.baseline_w = self.meter.read_w(energy_j)

    def _write(self, outcome: Record, called_w: float, over_j: float, rebound_j: float) -> None:
        performance = self.delivered_w / called_w if called_w > 0.0 else 1.0
        delivered_j = self.delivered_w * self.tick_s
        values = {
            "called_j": called_w * self.tick_s,
            "delivered_j": delivered_j,
            "over_call_j": over_j,
            "rebound_j": rebound_j,
            "availability_usd": self.availability_usd * performance,
            "activation_usd": delivered_j * self.activation_usd_per_j,
            "damages_usd": over_j * self.damages_usd_per_j,
            "rebound_usd": rebound_j * self.rebound_usd_per_j,
        }
        for name, value in values.items():
            outcome[name][0, self.place] = value

    def write_view(self, view: Record) -> None:
        """The policy's view of the programme, beside announcements."""
        if self.place < 0:
            return
        view["baseline_w"][0, self.place] = self.baseline_w
        view["delivered_w"][0, self.place] = self.delivered_w
