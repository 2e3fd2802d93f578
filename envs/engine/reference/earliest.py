"""Which of the running iterations ends first."""

from __future__ import annotations

import heapq
import math

from tokenfleet.envs.engine.reference.replica import Replica


class Earliest:
    """The ends of iterations in all replicas of a fleet; the lower index wins a tie."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._ends: list[tuple[float, int]] = []

    def note(self, index: int) -> None:
        """Take in when the replica's iteration ends now."""
        heapq.heappush(self._ends, (self._replicas[index].next_boundary_s, index))

    def boundary(self) -> tuple[float, int]:
        """When the first running iteration ends, and in which replica; inf and -1 where none runs."""
        while self._ends:
            boundary_s, index = self._ends[0]
            if self._replicas[index].next_boundary_s == boundary_s:
                return boundary_s, index
            heapq.heappop(self._ends)  # the replica has passed it, or lost its power
        return math.inf, -1
