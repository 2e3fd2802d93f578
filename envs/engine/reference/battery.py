"""A site's battery in time; see `layers.power.battery` for what it stands for."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays


class Battery:
    """The store of site `s`; a site without a battery has one of no power."""

    def __init__(self, arrays: FleetArrays, s: int) -> None:
        """Begin with the initial charge."""
        self.tick_s = arrays.tick_s
        self.limit_w = float(arrays.battery_limit_w[s])
        self.charge_efficiency = float(arrays.battery_charge_efficiency[s])
        self.discharge_efficiency = float(arrays.battery_discharge_efficiency[s])
        self.lowest_j = float(arrays.battery_lowest_j[s])
        self.highest_j = float(arrays.battery_highest_j[s])
        self.stored_j = float(arrays.battery_initial_j[s])

    def run(self, asked_w: float, need_j: float) -> tuple[float, float]:
        """Charge or discharge for a tick.

        Args:
            asked_w: positive to discharge, negative to charge.
            need_j: the most that the busbar can take.

        Returns:
            What it took from the busbar and what it gave [J]; one of them is 0.
        """
        charge_j = self._charge_j(-asked_w) if asked_w < 0.0 else 0.0
        discharge_j = self._discharge_j(asked_w, need_j) if asked_w > 0.0 else 0.0
        after_j = self.stored_j + charge_j * self.charge_efficiency - discharge_j / self.discharge_efficiency
        self.stored_j = min(max(after_j, self.lowest_j), self.highest_j)  # off by rounding at most
        return charge_j, discharge_j

    def _charge_j(self, asked_w: float) -> float:
        free_j = (self.highest_j - self.stored_j) / self.charge_efficiency
        return min(min(asked_w, self.limit_w) * self.tick_s, free_j)

    def _discharge_j(self, asked_w: float, need_j: float) -> float:
        left_j = (self.stored_j - self.lowest_j) * self.discharge_efficiency
        return min(min(min(asked_w, self.limit_w) * self.tick_s, left_j), need_j)
