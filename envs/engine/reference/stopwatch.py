"""A time, told by what has passed since an earlier time.

A replica's clock is a sum of many iterations. If the sum is rounded at each of them, late in an episode, it is soon off
by more than the engines may differ, and two engines that add in different orders are off by different amounts. A sum
that counts from when the replica became busy, and keeps the roundings, is not. A time that is whole on paper is whole
here: ten iterations of 0.1 s end at the second, because elapsed time is told to `RESOLUTION_S`. Sums in different
orders differ by less.
"""

from __future__ import annotations

from typing import NamedTuple

RESOLUTION_S = 2.0**-40
"""To which a time is told; after half an hour of being busy, as little as doubles can tell."""
_TELLING_S = 1.5 * 2.0**52 * RESOLUTION_S
"""Doubles beside this number lie `RESOLUTION_S` away: adding and subtracting it rounds a time to that."""


class Stopwatch(NamedTuple):
    """A time that lies `elapsed_s + rest_s` after `begin_s`.

    >>> watch = Stopwatch(1e7)
    >>> for _ in range(1_000_000):
    ...     watch = watch.after(0.1)
    >>> watch.now_s
    10100000.0
    """

    begin_s: float
    elapsed_s: float = 0.0
    rest_s: float = 0.0  # what `elapsed_s`, a rounded sum, lacks

    @property
    def now_s(self) -> float:
        """The time itself."""
        passed_s = self.elapsed_s + self.rest_s
        return self.begin_s + ((passed_s + _TELLING_S) - _TELLING_S)

    def passed_s(self, until_s: float) -> float:
        """What has passed since this time, before the time is rounded."""
        return ((until_s - self.begin_s) - self.elapsed_s) - self.rest_s

    def after(self, length_s: float) -> Stopwatch:
        """`length_s` later."""
        sum_s = self.elapsed_s + length_s
        added_s = sum_s - self.elapsed_s
        lost_s = (self.elapsed_s - (sum_s - added_s)) + (length_s - added_s)  # Knuth's two-sum
        return Stopwatch(self.begin_s, sum_s, self.rest_s + lost_s)
