"""Credits for classes with a missed service agreement; see `layers.agents.agreement`."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.rows import Record

ENDED = ("completed_in_slo", "completed_late", "refused", "expired")
CHARGED = ("value_in_slo_usd", "value_late_usd", "value_lost_usd")


class Window:
    """The window of one class."""

    def __init__(self, arrays: FleetArrays, k: int) -> None:
        """Begin with nothing ended."""
        self.k = k
        self.place = int(arrays.agreement[k])
        self.length_ticks = int(arrays.agreement_window_ticks[k])
        below, given_back = arrays.agreement_below_share[k], arrays.agreement_credit_fraction[k]
        self.tiers = [(float(share), float(credit)) for share, credit in zip(below, given_back, strict=True)]
        self._begin()

    def _begin(self) -> None:
        self.ticks = 0
        self.ended = self.timely = self.value_usd = 0.0
        self.closed = False

    @property
    def share(self) -> float:
        """Of the requests that have ended, those in time; 1 without any."""
        return self.timely / self.ended if self.ended > 0.0 else 1.0

    @property
    def credit_fraction(self) -> float:
        """What is given back of the charges."""
        return max([0.0, *(credit for below, credit in self.tiers if self.share < below)])

    def add(self, outcome: Record) -> None:
        """Count what has ended in a tick."""
        if self.closed:
            self._begin()
        self.ticks += 1
        ended, charged = (sum(float(outcome[name][0, self.k]) for name in names) for names in (ENDED, CHARGED))
        self.ended += ended
        self.timely += float(outcome["in_agreement"][0, self.place])
        self.value_usd += charged


class Agreements:
    """The windows of all classes that have an agreement."""

    def __init__(self, arrays: FleetArrays) -> None:
        """Begin all windows."""
        self.last_tick = arrays.horizon_ticks - 1
        self.windows = [Window(arrays, k) for k in range(arrays.num_classes) if arrays.agreement[k] >= 0]

    def account(self, tick: int, outcome: Record) -> None:
        """Count what has ended in a tick, and settle the windows that end with it."""
        for window in self.windows:
            window.add(outcome)
            if window.ticks == window.length_ticks or tick == self.last_tick:
                outcome["credit_usd"][0, window.place] = window.credit_fraction * window.value_usd
                window.closed = True

    def write_view(self, view: Record) -> None:
        """What the policy sees of the windows."""
        for window in self.windows:
            view["agreement_share"][0, window.place] = window.share
            view["agreement_ended"][0, window.place] = window.ended
            view["agreement_fraction"][0, window.place] = window.ticks / window.length_ticks
