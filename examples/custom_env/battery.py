"""An environment of one's own: a battery that buys electricity when it is cheap and sells it when it is dear."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

TICK_H = 0.25
HORIZON_TICKS = 192  # two days
MEAN_USD_PER_MWH = 60.0


class BatteryEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Trade with a battery at prices that follow the time of day and drift at random.

    The action in [-1, 1] is power over `power_mw`, positive to charge. The observation is charge over capacity, price
    over twice its mean, and sine and cosine of the time of day. The reward is dollars earned in a tick, over what
    selling at full power for a tick earns at the mean price.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's name)

    def __init__(self, capacity_mwh: float = 4.0, power_mw: float = 2.0, efficiency: float = 0.9) -> None:
        self.capacity_mwh, self.power_mw, self.efficiency = capacity_mwh, power_mw, efficiency
        low, high = np.array([0, 0, -1, -1], np.float32), np.ones(4, np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.render_mode = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start half full, at midnight."""
        super().reset(seed=seed)
        self.tick, self.charge_mwh = 0, self.capacity_mwh / 2
        self.price = self._sample_prices()
        return self._observe(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Trade for one tick."""
        wanted_mwh = float(np.clip(action[0], -1.0, 1.0)) * self.power_mw * TICK_H
        room_mwh = (self.capacity_mwh - self.charge_mwh) / self.efficiency
        bought_mwh = min(max(wanted_mwh, -self.charge_mwh), room_mwh)
        self.charge_mwh += bought_mwh * (self.efficiency if bought_mwh > 0 else 1.0)
        earned_usd = -bought_mwh * self.price[self.tick]
        self.tick += 1
        reward = earned_usd / (self.power_mw * TICK_H * MEAN_USD_PER_MWH)
        return self._observe(), float(reward), False, self.tick == HORIZON_TICKS, {"earned_usd": float(earned_usd)}

    def _sample_prices(self) -> NDArray[np.float64]:
        """Prices of every tick and the one after the last [USD/MWh]: dear in the evening, cheap at night."""
        hour = np.arange(HORIZON_TICKS + 1) * TICK_H
        drift = np.cumsum(self.np_random.normal(0.0, 0.03, len(hour)))
        price = MEAN_USD_PER_MWH * (1.0 + 0.5 * np.sin(2 * np.pi * (hour - 12.0) / 24.0) + drift)
        return np.clip(price, 0.0, 2 * MEAN_USD_PER_MWH)

    def _observe(self) -> NDArray[np.float32]:
        angle = 2 * np.pi * self.tick * TICK_H / 24.0
        price = self.price[self.tick] / (2 * MEAN_USD_PER_MWH)
        seen = [min(self.charge_mwh / self.capacity_mwh, 1.0), price, np.sin(angle), np.cos(angle)]
        return np.array(seen, np.float32)


gymnasium.register(id="battery/Battery-v0", entry_point="examples.custom_env.battery:BatteryEnv")
