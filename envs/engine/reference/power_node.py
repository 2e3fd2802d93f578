"""What watches one cap: meter, brake and breaker of a grid connection or of a row."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.delay_line import DelayLine
from tokenfleet.envs.engine.reference.meter import Meter


@dataclass(frozen=True)
class Reading:
    """What a node found at the end of a tick."""

    power_w: float  # mean over the meter's window
    over_cap_w: float  # how far that is above the cap, else 0
    above: bool
    brake_began: bool
    tripped: bool


class PowerNode:
    """See `layers.power` for what meter, brake and breaker stand for; `index` is the node's place in `[S + W]`."""

    def __init__(self, arrays: FleetArrays, index: int) -> None:
        """Begin released, cold and lit."""
        self.tick_s = arrays.tick_s
        self.brake_delay_s = float(arrays.brake_delay_s[index])
        self.brake_clock_fraction = float(arrays.brake_clock_fraction[index])
        self.recovery_ratio = float(arrays.recovery_ratio[index])
        self.release_fraction = float(arrays.release_fraction[index])
        self.release_delay_s = float(arrays.release_delay_s[index])
        self.control_lag_ticks = int(arrays.control_lag_ticks[index])
        self.pickup_ratio = float(arrays.pickup_ratio[index])
        self.trip_exponent = float(arrays.trip_exponent[index])
        self.trip_heat_s = float(arrays.trip_heat_s[index])
        self.cooling_s = float(arrays.cooling_s[index])
        self.restart_s = float(arrays.restart_s[index])
        self.meter_window_ticks = int(arrays.meter_window_ticks[index])
        self._begin(dark_until_s=0.0)

    def _begin(self, dark_until_s: float) -> None:
        self.meter = Meter(self.meter_window_ticks, self.tick_s)
        self.wants_brake = False  # what the brake has decided
        self.braked = False  # what the clocks have heard of it
        self.command = DelayLine(self.control_lag_ticks, 0.0)
        self.brake_timer_s = 0.0
        self.below_release_s = 0.0
        self.damage = 0.0
        self.dark_until_s = dark_until_s

    def is_dark(self, now_s: float) -> bool:
        """Whether the node still waits for its restart."""
        return now_s < self.dark_until_s

    def read(self, energy_j: float, cap_w: float, brake_cap_w: float, rating_w: float, now_s: float) -> Reading:
        """Account the energy of the tick that ends at `now_s`: brake and breaker hold caps of their own."""
        power_w = self.meter.read_w(energy_j)
        above = power_w > cap_w
        recovered_s = max(self.brake_timer_s - self.recovery_ratio * self.tick_s, 0.0)
        self.brake_timer_s = self.brake_timer_s + self.tick_s if power_w > brake_cap_w else recovered_s
        brake_began = self._update_brake(power_w, brake_cap_w)
        self._heat(energy_j / self.tick_s, rating_w)
        tripped = self.damage >= 1.0 - 1e-9
        if tripped:
            self._begin(now_s + self.restart_s)
        return Reading(power_w, power_w - cap_w if above else 0.0, above, brake_began, tripped)

    def _update_brake(self, power_w: float, cap_w: float) -> bool:
        """Decide for the brake, and tell the clocks; True when they have just heard of it."""
        if self.wants_brake:
            self._consider_release(power_w, cap_w)
        else:
            self.wants_brake = power_w > cap_w and self.brake_timer_s >= self.brake_delay_s
            self.below_release_s = 0.0
        was_braked = self.braked
        self.braked = self.command.push(float(self.wants_brake)) > 0.0
        return self.braked and not was_braked

    def _consider_release(self, power_w: float, cap_w: float) -> None:
        well_below = power_w <= self.release_fraction * cap_w
        self.below_release_s = self.below_release_s + self.tick_s if well_below else 0.0
        if well_below and self.below_release_s >= self.release_delay_s:
            self.wants_brake = False
            self.brake_timer_s = 0.0

    def _heat(self, power_w: float, rating_w: float) -> None:
        """Bring the breaker nearer to its trip (at a damage of 1), or let it cool."""
        carries_w = self.pickup_ratio * rating_w
        if power_w > carries_w:
            ratio = power_w / carries_w if carries_w > 0.0 else math.inf
            self.damage += self.tick_s * (math.pow(ratio, self.trip_exponent) - 1.0) / self.trip_heat_s
        elif power_w < rating_w:
            self.damage = max(self.damage - self.tick_s / self.cooling_s, 0.0)
