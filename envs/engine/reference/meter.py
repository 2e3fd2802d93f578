"""The mean power of the last ticks."""

from __future__ import annotations

from collections import deque


class Meter:
    """Mean power over a window of ticks, or of those that there were."""

    def __init__(self, window_ticks: int, tick_s: float) -> None:
        """Begin with nothing metered."""
        self.tick_s = tick_s
        self.window_j: deque[float] = deque(maxlen=window_ticks)

    def read_w(self, energy_j: float) -> float:
        """Take the energy of a tick [J]; the mean power of the window that it ends [W]."""
        self.window_j.append(energy_j)
        total_j = 0.0
        for one_j in self.window_j:
            total_j += one_j
        return total_j / (len(self.window_j) * self.tick_s)
