"""The queue of a replica: the order of its requests, and the seats of the batch that they may take.

The queue is strictly first come, first served. Where a pool ranks classes, requests of the highest priority come first,
and those of one priority in the order of arrival; a running request is left running. Some seats may be kept for a
class: other classes take one only if enough are left for the seats that this class has not taken up. A request that has
no seat for that reason is passed over; the KV cache still gives space in turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from tokenfleet.envs.engine.reference.limits import Limits
from tokenfleet.envs.engine.reference.request import Request


class Queue:
    """The requests that wait for a replica, the next one first."""

    def __init__(self, limits: Limits) -> None:
        """Begin empty."""
        self.limits = limits
        self._requests: deque[Request] = deque()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def add(self, request: Request) -> None:
        """Let a request wait behind all others; where the pool ranks classes, of its priority."""
        self._put(request, ahead_of_equals=False)

    def put_back(self, request: Request) -> None:
        """Let a request that was preempted wait ahead of all others; where the pool ranks classes, of its priority."""
        self._put(request, ahead_of_equals=True)

    def remove(self, request: Request) -> None:
        """A request waits no more."""
        self._requests.remove(request)

    def clear(self) -> None:
        """Forget all."""
        self._requests.clear()

    def first_with_seat(self, running: Sequence[int]) -> Request | None:
        """The first for which there is a seat beside requests of the classes `running`."""
        free = self.limits.max_batch - len(running)
        if free == 0 or not self._requests:
            return None
        if not self.limits.ranks_classes:
            return self._requests[0]
        taken = np.bincount(np.array(running, np.int64), minlength=len(self.limits.reserved_seats))
        kept = np.maximum(self.limits.reserved_seats - taken, 0)
        seats = free - kept.sum() + kept
        return next((request for request in self._requests if seats[request.class_id] > 0), None)

    def _put(self, request: Request, ahead_of_equals: bool) -> None:
        if not self.limits.ranks_classes:
            self._requests.insert(0 if ahead_of_equals else len(self), request)
            return
        rank = self._rank(request)
        behind = (
            place
            for place, other in enumerate(self._requests)
            if self._rank(other) < rank or (ahead_of_equals and self._rank(other) == rank)
        )
        self._requests.insert(next(behind, len(self)), request)

    def _rank(self, request: Request) -> int:
        return int(self.limits.priority[request.class_id])
