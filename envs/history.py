"""Rows of the current episodes of N fleets: what was done, or seen, at every tick since each one's start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class EpisodeRows:
    """Remembers one row `[...]` a tick for each of N fleets, from the start of that fleet's episode.

    >>> rows = EpisodeRows(2)
    >>> rows.append(np.array([[1.0], [2.0]]))
    >>> rows.begin(1)
    >>> rows.append(np.array([[3.0], [4.0]]))
    >>> rows.of(0).tolist(), rows.of(1).tolist()
    ([[1.0], [3.0]], [[4.0]])
    """

    def __init__(self, num_envs: int) -> None:
        self._ticks: list[NDArray[Any]] = []
        self._first = [0] * num_envs

    def append(self, rows: NDArray[Any]) -> None:
        """Add a tick: `[N, ...]`, copied."""
        self._ticks.append(np.array(rows))

    def begin(self, index: int) -> None:
        """Forget what fleet `index` did: its next row is its first."""
        self._first[index] = len(self._ticks)
        unused = min(self._first)
        if unused:
            del self._ticks[:unused]
            self._first = [first - unused for first in self._first]

    def of(self, index: int) -> NDArray[Any]:
        """Fleet `index`'s rows, `[T, ...]`; an empty array of no particular width before the first."""
        rows = [tick[index] for tick in self._ticks[self._first[index] :]]
        return np.stack(rows) if rows else np.empty(0)
