"""What a site's tariff charges beyond energy; see `layers.power.tariff` for what demand and ramp charges stand for.

The charge for the highest window is booked as soon as it is certain: energy of the window so far over the length of the
whole window is the least that its mean will be. When the window ends that is its mean, so the bookings add up to the
charge for the episode's highest window.
"""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.rows import Record


class PowerCharges:
    """The charges of site `s`, whose place among such sites is `place`."""

    def __init__(self, arrays: FleetArrays, s: int) -> None:
        """Begin at the ratchet, with an empty window and no power before."""
        self.place = int(arrays.charges[s])
        self.tick_s = arrays.tick_s
        self.window_ticks = int(arrays.demand_window_ticks[s])
        self.usd_per_w = float(arrays.demand_usd_per_w[s])
        self.ramp_limit_w = float(arrays.ramp_limit_w[s])
        self.ramp_usd_per_w = float(arrays.ramp_usd_per_w[s])
        self.peak_w = float(arrays.ratchet_w[s])
        self.window_j = 0.0
        self.ticks = 0
        self.power_w = -1.0

    def account(self, energy_j: float, outcome: Record) -> None:
        """Charge for a tick."""
        if self.place < 0:
            return
        outcome["demand_charge_usd"][0, self.place] = self._demand_charge_usd(energy_j)
        outcome["ramp_charge_usd"][0, self.place] = self._ramp_charge_usd(energy_j / self.tick_s)

    def _demand_charge_usd(self, energy_j: float) -> float:
        if self.ticks == self.window_ticks:
            self.window_j, self.ticks = 0.0, 0
        self.window_j += energy_j
        self.ticks += 1
        rise_w = max(self.window_j / (self.window_ticks * self.tick_s) - self.peak_w, 0.0)
        self.peak_w += rise_w
        return rise_w * self.usd_per_w

    def _ramp_charge_usd(self, power_w: float) -> float:
        before_w, self.power_w = self.power_w, power_w
        change_w = abs(power_w - before_w) if before_w >= 0.0 else 0.0
        return max(change_w - self.ramp_limit_w, 0.0) * self.ramp_usd_per_w

    def write_view(self, view: Record) -> None:
        """What the policy sees of the meter."""
        if self.place < 0:
            return
        view["peak_power_w"][0, self.place] = self.peak_w
        view["window_power_w"][0, self.place] = self.window_j / (max(self.ticks, 1) * self.tick_s)
        view["window_fraction"][0, self.place] = self.ticks / self.window_ticks
