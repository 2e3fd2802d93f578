"""The clients of a fleet: calls that wait for other calls, retries with back-off, sessions that give up, the network.

The next act of a client is an entry of one queue, ordered by time and then by row of the request table. A request
stands in the queue at most once: while its client thinks, runs a tool or backs off after a failed attempt, or while the
request travels.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import numpy as np

from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.traces import RequestTable

CALLS = -1


class Step(NamedTuple):
    """One entry of the queue: at `time_s` request `row` reaches `pool`, or is made by its client (`CALLS`)."""

    time_s: float
    row: int
    pool: int


class Clients:
    """Everything that is known of a request outside the sites."""

    def __init__(self, arrays: FleetArrays, table: RequestTable) -> None:
        """Begin with every call still to be made."""
        self.arrays = arrays
        self.table = table
        self.unfinished_predecessors = table.predecessors.tolist()
        self.last_answer_s = np.zeros(len(table))
        self.failed_attempts = [0] * len(table)
        self.last_failure = [RequestStatus.PENDING] * len(table)
        self.asked_s = np.full(len(table), np.nan)
        self.thinking = [0] * arrays.num_classes
        self.away = [0] * arrays.num_classes
        self._ended_sessions: set[int] = set()
        self._steps: list[Step] = []

    def next_s(self) -> float:
        """When the next step happens; inf without one."""
        return self._steps[0].time_s if self._steps else math.inf

    def take_step(self) -> Step:
        """Remove the next step and return it."""
        step = heapq.heappop(self._steps)
        waiting = self.away if step.pool != CALLS or self.failed_attempts[step.row] else self.thinking
        waiting[self._class_of(step.row)] -= 1
        return step

    def ask(self, index: int, now_s: float) -> bool:
        """Note that a call is made; True if it is made for the first time."""
        first = bool(np.isnan(self.asked_s[index]))
        if first:
            self.asked_s[index] = now_s
        return first

    def thought_of(self) -> list[int]:
        """Rows of the calls that will be made for the first time, in their order."""
        return sorted(step.row for step in self._steps if step.pool == CALLS and np.isnan(self.asked_s[step.row]))

    def travel(self, index: int, pool: int, arrival_s: float) -> None:
        """Send a request on its way to a pool."""
        self.away[self._class_of(index)] += 1
        heapq.heappush(self._steps, Step(arrival_s, index, pool))

    def succeed(self, index: int, now_s: float) -> None:
        """A call has been answered: the calls that waited for it alone are made after their wait."""
        for row in self.table.successors(index).tolist():
            # Answers that come from afar are not known in the order in which they arrive.
            self.last_answer_s[row] = max(self.last_answer_s[row], now_s)
            self.unfinished_predecessors[row] -= 1
            if self.unfinished_predecessors[row] == 0 and not self.has_given_up(row):
                self.thinking[self._class_of(row)] += 1
                heapq.heappush(self._steps, Step(float(self.last_answer_s[row] + self.table.wait_s[row]), row, CALLS))

    def fail(self, index: int, now_s: float, status: RequestStatus) -> bool:
        """An attempt has failed; True if the client will try again, else its session ends."""
        k = self._class_of(index)
        self.failed_attempts[index] += 1
        self.last_failure[index] = status
        if self.failed_attempts[index] < self.arrays.max_attempts[k] and not self.has_given_up(index):
            self.away[k] += 1
            heapq.heappush(self._steps, Step(now_s + self._back_off_s(index), index, CALLS))
            return True
        self.end_session(index)
        return False

    def end_session(self, index: int) -> bool:
        """The request's session makes no further call; True if that is new."""
        session = int(self.table.session_id[index])
        if session < 0 or session in self._ended_sessions:
            return False
        self._ended_sessions.add(session)
        return True

    def has_given_up(self, index: int) -> bool:
        """Whether the request's session has ended."""
        return int(self.table.session_id[index]) in self._ended_sessions

    def _back_off_s(self, index: int) -> float:
        a, k = self.arrays, self._class_of(index)
        wait_s = float(a.backoff_s[k])
        for _ in range(1, self.failed_attempts[index]):
            wait_s *= float(a.backoff_factor[k])
        return wait_s * (1.0 + float(a.backoff_jitter[k]) * (2.0 * float(self.table.retry_uniform[index]) - 1.0))

    def _class_of(self, index: int) -> int:
        return int(self.table.class_id[index])
