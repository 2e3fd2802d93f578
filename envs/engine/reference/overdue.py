"""Requests under way that can no longer be answered within their SLO, and their price.

A request is overdue as soon as it can no longer be in time. Its first token came late, or has not come when its limit
passes. Its deadline passes. Or it has to be tried again after the limit of its first token. Limits are looked at when a
tick ends. Whether an answer was written too slowly shows only when the answer completes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.billing import Billing
from tokenfleet.envs.engine.reference.clients import Clients
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.ties import exceeds
from tokenfleet.envs.rows import Record


class Overdue:
    """Who is overdue, and the sum of their prices by class."""

    def __init__(self, arrays: FleetArrays, clients: Clients, billing: Billing, outcome: Record) -> None:
        """Begin with no request under way."""
        self.arrays = arrays
        self.clients = clients
        self.billing = billing
        self.outcome = outcome
        self._under_way: dict[int, Request] = {}
        self._has_first_token: set[int] = set()
        self._overdue: set[int] = set()
        self._sum_usd = np.zeros(arrays.num_classes)
        self._before_ttft: list[deque[int]] = [deque() for _ in range(arrays.num_classes)]
        self._before_deadline: list[deque[int]] = [deque() for _ in range(arrays.num_classes)]

    def watch(self, request: Request) -> None:
        """A request is made for the first time."""
        self._under_way[request.index] = request
        self._before_ttft[request.class_id].append(request.index)
        self._before_deadline[request.class_id].append(request.index)

    def first_token(self, index: int, ttft_s: float) -> None:
        """Its first token is on its way, and comes so long after the call."""
        self._has_first_token.add(index)
        if exceeds(ttft_s, float(self.arrays.ttft_s[self._under_way[index].class_id])):
            self.add(index)

    def retry(self, index: int, now_s: float) -> None:
        """An attempt has failed; another one has to bring another first token."""
        self._has_first_token.discard(index)
        if self._is_past(index, self.arrays.ttft_s, now_s):
            self.add(index)

    def look(self, end_s: float) -> None:
        """A tick ends: find those whose limits have passed in it, and write down the sum."""
        for index in self._passed(self._before_ttft, self.arrays.ttft_s, end_s):
            if index not in self._has_first_token:
                self.add(index)
        for index in self._passed(self._before_deadline, self.arrays.deadline_s, end_s):
            self.add(index)
        self.outcome["overdue_usd"][0] = self._sum_usd

    def end(self, index: int) -> None:
        """A request has come to its end."""
        self.remove(index)
        del self._under_way[index]

    def add(self, index: int) -> None:
        """Count a request as overdue, if it is under way."""
        if index in self._under_way and index not in self._overdue:
            self._overdue.add(index)
            self._count(self._under_way[index], +1)

    def remove(self, index: int) -> bool:
        """Count a request no longer, and say whether it was overdue."""
        if index not in self._overdue:
            return False
        self._overdue.remove(index)
        self._count(self._under_way[index], -1)
        return True

    def _count(self, request: Request, sign: int) -> None:
        change_usd = sign * self.billing.value_usd(request, 0)
        self._sum_usd[request.class_id] += change_usd
        self.outcome["overdue_change_usd"][0, request.class_id] += change_usd

    def _passed(self, watched: list[deque[int]], limit_s: np.ndarray, now_s: float) -> Iterator[int]:
        """The requests whose limit has passed; within a class they pass it in the order in which they were made."""
        for queue in watched:
            while queue and self._is_past(queue[0], limit_s, now_s):
                yield queue.popleft()

    def _is_past(self, index: int, limit_s: np.ndarray, now_s: float) -> bool:
        k = int(self.clients.table.class_id[index])
        return exceeds(now_s - float(self.clients.asked_s[index]), float(limit_s[k]))
