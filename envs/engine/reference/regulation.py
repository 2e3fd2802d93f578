"""What a site is paid for following the grid's signal; see `layers.power.regulation`."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.meter import Meter
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.rows import Record


class Regulation:
    """The regulation of site `s`, whose place among such sites is `place`."""

    def __init__(self, arrays: FleetArrays, episode: Episode, s: int) -> None:
        """Begin at the initial base, with the signal at 0."""
        self.place = int(arrays.regulation[s])
        self.episode = episode
        self.tick_s = arrays.tick_s
        self.capacity_w = float(arrays.regulation_w[s])
        self.usd = float(arrays.regulation_usd_per_s[s]) * arrays.tick_s
        self.usd_per_mileage = float(arrays.regulation_usd_per_mileage[s])
        self.least_score = float(arrays.regulation_least_score[s])
        self.meter = Meter(int(arrays.regulation_base_ticks[s]), arrays.tick_s)
        self.base_w = float(arrays.regulation_initial_base_w[s])
        self.response = self.signal = 0.0

    def account(self, energy_j: float, tick: int, outcome: Record) -> None:
        """Pay for a tick."""
        if self.place < 0:
            return
        before, self.signal = self.signal, float(self.episode.regulation_signal[tick, self.place])
        self.response = (energy_j / self.tick_s - self.base_w) / self.capacity_w
        score = max(1.0 - abs(self.response - self.signal), 0.0)
        offered_usd = self.usd + abs(self.signal - before) * self.usd_per_mileage
        outcome["regulation_score"][0, self.place] = score
        outcome["regulation_ticks"][0, self.place] = 1.0
        outcome["regulation_usd"][0, self.place] = 0.0 if score < self.least_score else score * offered_usd
        self.base_w = self.meter.read_w(energy_j)

    def write_view(self, view: Record) -> None:
        """What the policy sees of it, beside the signal."""
        if self.place < 0:
            return
        view["regulation_base_w"][0, self.place] = self.base_w
        view["regulation_response"][0, self.place] = self.response
