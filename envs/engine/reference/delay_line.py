"""A signal that takes a fixed number of ticks to arrive."""

from __future__ import annotations

from collections import deque


class DelayLine:
    """Gives back what was put in `ticks` ticks ago.

    >>> line = DelayLine(2, 1.0)
    >>> [line.push(value) for value in (0.3, 0.4, 0.5)]
    [1.0, 1.0, 0.3]
    """

    def __init__(self, ticks: int, initial: float) -> None:
        """What is on its way at first is `initial`."""
        self._in_transit = deque([initial] * ticks)

    def push(self, value: float) -> float:
        """Send `value`, once a tick; receive what arrives."""
        self._in_transit.append(value)
        return self._in_transit.popleft()
