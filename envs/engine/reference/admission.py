"""Admission: interactive requests are let in or refused, deferrable ones held and released."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.ties import credit_tie, exceeds


class Release(NamedTuple):
    """A held request and when it leaves."""

    time_s: float
    request: Request


class Admission:
    """What each class is still allowed, and who is held."""

    def __init__(self, arrays: FleetArrays) -> None:
        """Begin with credit for one request of each class."""
        self.arrays = arrays
        self.held: list[deque[Request]] = [deque() for _ in range(arrays.num_classes)]
        self._credit = [1.0] * arrays.num_classes
        self._credited_s = [0.0] * arrays.num_classes

    def set_rates(self, admit_rate_rps: np.ndarray) -> None:
        """Requests/s of each class, `[K]`, from now on."""
        self._rate_rps: list[float] = admit_rate_rps.tolist()

    def admit(self, k: int, now_s: float) -> bool:
        """Token bucket one second deep (at least one request)."""
        rate_rps = self._rate_rps[k]
        if rate_rps == math.inf:
            return True
        depth = max(1.0, rate_rps)
        credit = min(depth, self._credit[k] + rate_rps * (now_s - self._credited_s[k]))
        self._credited_s[k] = now_s
        admitted = credit >= 1.0 - credit_tie(rate_rps)
        self._credit[k] = credit - 1.0 if admitted else credit
        return admitted

    def drop_expired(self, now_s: float) -> list[Request]:
        """Held requests whose patience has run out."""
        expired = []
        for k, held in enumerate(self.held):
            while held and exceeds(now_s - held[0].arrival_s, float(self.arrays.patience_s[k])):
                expired.append(held.popleft())
        return expired

    def release(self, start_s: float) -> deque[Release]:
        """Held requests that leave in the tick from `start_s`, evenly spaced over it, oldest first."""
        tick_s = self.arrays.tick_s
        released = []
        for k, held in enumerate(self.held):
            count = self._release_count(k)
            released += [Release(start_s + (i + 0.5) * (tick_s / count), held.popleft()) for i in range(count)]
        return deque(sorted(released, key=lambda release: release.time_s))

    def _release_count(self, k: int) -> int:
        """How many held requests the rate lets go; the unused part of a request carries over."""
        if not self.arrays.deferrable[k]:
            return 0
        waiting, rate_rps = len(self.held[k]), self._rate_rps[k]
        if rate_rps == math.inf:
            return waiting
        credit = self._credit[k] + rate_rps * self.arrays.tick_s
        count = max(math.floor(min(waiting, credit + credit_tie(rate_rps))), 0)
        self._credit[k] = min(credit - count, 1.0)
        return count
