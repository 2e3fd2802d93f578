"""A site's meter, brake and breaker."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.fields import Record


class SiteProtection:
    """Watches one site's metered power against its cap; see `layers.power` for what brake and breaker stand for."""

    def __init__(self, arrays: FleetArrays, site: int) -> None:
        """Begin released and lit."""
        self.arrays = arrays
        self.site = site
        self.braked = False
        self.over_cap_s = 0.0
        self.overload_s = 0.0
        self.below_release_s = 0.0
        self.dark_until_s = 0.0

    def is_dark(self, now_s: float) -> bool:
        """Whether the site still waits for its restart."""
        return now_s < self.dark_until_s

    def read_meter(self, energy_j: float, cap_w: float, now_s: float, outcome: Record) -> bool:
        """Account one tick's facility energy and answer whether the breaker trips at its end."""
        s, tick_s = self.site, self.arrays.tick_s
        power_w = energy_j / tick_s
        above = power_w > cap_w
        outcome["energy_j"][0, s] = energy_j
        outcome["power_w"][0, s] = power_w
        outcome["above_cap_s"][0, s] = tick_s if above else 0.0
        outcome["over_cap_w"][0, s] = power_w - cap_w if above else 0.0
        recovered_s = max(self.over_cap_s - float(self.arrays.recovery_ratio[s]) * tick_s, 0.0)
        self.over_cap_s = self.over_cap_s + tick_s if above else recovered_s
        overloaded = power_w > float(self.arrays.overload_ratio[s]) * cap_w
        self.overload_s = self.overload_s + tick_s if overloaded else 0.0
        outcome["brakes"][0, s] = self._update_brake(power_w, cap_w)
        tripped = overloaded and self.overload_s >= float(self.arrays.breaker_delay_s[s])
        outcome["trips"][0, s] = tripped
        if tripped:
            self._trip(now_s)
        return tripped

    def _update_brake(self, power_w: float, cap_w: float) -> bool:
        """Engage or release the brake for the next tick; True when it has just engaged."""
        s = self.site
        if not self.braked:
            self.braked = power_w > cap_w and self.over_cap_s >= float(self.arrays.brake_delay_s[s])
            self.below_release_s = 0.0
            return self.braked
        well_below = power_w <= float(self.arrays.release_fraction[s]) * cap_w
        self.below_release_s = self.below_release_s + self.arrays.tick_s if well_below else 0.0
        self.braked = not (well_below and self.below_release_s >= float(self.arrays.release_delay_s[s]))
        if not self.braked:
            self.over_cap_s = 0.0
        return False

    def _trip(self, now_s: float) -> None:
        self.braked = False
        self.over_cap_s = 0.0
        self.overload_s = 0.0
        self.below_release_s = 0.0
        self.dark_until_s = now_s + float(self.arrays.restart_s[self.site])
