"""Lower bounds on caps in the next moments, from announcements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power import CapSpec, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]


class CapForecast:
    """Lower bound of the caps of sites, or of rows, over the next moments, from announcements.

    Of three lower bounds, the highest is taken. With L the shortest announced lead time that covers the moments:

    - *slope*: an event takes at most `depth / ramp_s` of the contract per second, and `depth` in all, so the cap cannot
      fall faster than the sum over those events that can ramp in these moments;
    - *announced*: a single event falls, holds and recovers, so between now and L the cap is at least the lower of its
      two ends. This bound needs a notice no shorter than L (an emergency gives none), a hold of at least L, and no
      other event so near;
    - *depth*: the cap never falls below the contract less the full depths of events that can hold at the same time.

    When an event can hold follows from the bounds of its start. Events that cannot coincide are not combined: of two
    calls, one in the morning and one in the evening, the cap gives way to one at a time.

    Args:
        limits: D limits with their events.
        contract_w: their caps outside events, `[D]` [W].
        leads_s: how far ahead caps are announced [s].
        ahead_s: how far ahead to look, `[D]` [s].

    Attributes:
        deepest_w: the lowest possible caps, `[D]` [W].
    """

    def __init__(
        self, limits: Sequence[CapSpec], contract_w: Sequence[float], leads_s: Sequence[float], ahead_s: Float64Array
    ) -> None:
        self._contract_w, leads = np.array(contract_w, dtype=np.float64), np.array(leads_s)
        events = [limit.events for limit in limits]
        self.deepest_w = self._contract_w * np.array([least_left_fraction(some) for some in events], dtype=np.float64)
        fall = [_fall_fraction(some, ahead) for some, ahead in zip(events, ahead_s.tolist(), strict=True)]
        self._fall_w = self._contract_w * np.array(fall, dtype=np.float64)
        self._lead = np.array([_shortest_cover(leads, ahead) for ahead in ahead_s], dtype=np.int64)
        self._announced_counts = np.array(
            [lead >= 0 and _one_at_a_time(some, leads[lead]) for lead, some in zip(self._lead, events, strict=True)],
            dtype=np.bool_,
        )

    @classmethod
    def of_sites(cls, scenario: Scenario, ahead_s: Float64Array) -> CapForecast:
        """Of grid connections; D = S."""
        contract_w = [scenario.contract_w(name) for name in scenario.sites]
        return cls([site.grid for site in scenario.sites.values()], contract_w, scenario.announced_lead_s, ahead_s)

    @classmethod
    def of_rows(cls, scenario: Scenario, ahead_s: Float64Array) -> CapForecast:
        """Of rows; D = W."""
        contract_w = [scenario.row_cap_w(*key) for key in scenario.rows]
        return cls(list(scenario.rows.values()), contract_w, scenario.announced_lead_s, ahead_s)

    def lowest_w(self, cap_w: Float64Array, announced_cap_w: Float64Array) -> Float64Array:
        """The lowest possible caps from now until `ahead_s`, `[N, D]` [W].

        Args:
            cap_w: `[N, D]`.
            announced_cap_w: `[N, D, L]`.
        """
        lowest_w = np.maximum(cap_w - self._fall_w, self.deepest_w)
        if self._announced_counts.any():
            ends_w = np.minimum(cap_w, announced_cap_w[:, np.arange(cap_w.shape[1]), self._lead])
            lowest_w = np.where(self._announced_counts, np.maximum(lowest_w, ends_w), lowest_w)
        bound_w: Float64Array = np.minimum(lowest_w, cap_w)
        return bound_w


Event = DemandResponseSpec | EmergencySpec


def least_left_fraction(events: Sequence[Event]) -> float:
    """The least share of the contract that events leave, with all coincidences at full depth."""
    return min(math.prod(1.0 - event.deepest_fraction for event in some) for some in _together(events, _holds))


def _holds(event: Event) -> tuple[float, float]:
    """First and last moment at which an event can lower the cap [s]."""
    return event.earliest_start_s, event.latest_start_s + event.ramp_s + event.hold_s + event.recovery_s


def _together(events: Sequence[Event], span: Callable[[Event], tuple[float, float]]) -> list[list[Event]]:
    """The empty set, and for each event the set of events whose spans contain the beginning of its span."""
    spans = [(event, *span(event)) for event in events]
    return [[], *([event for event, first, last in spans if first <= moment <= last] for _, moment, _ in spans)]


def _fall_fraction(events: Sequence[Event], ahead_s: float) -> float:
    """The most of the contract by which events can lower the cap within `ahead_s`."""

    def ramps(event: Event) -> tuple[float, float]:
        return event.earliest_start_s - ahead_s, event.latest_start_s + event.ramp_s

    def fall(event: Event) -> float:
        return event.deepest_fraction * min(ahead_s / max(event.ramp_s, 1e-9), 1.0)

    return max(sum(map(fall, some)) for some in _together(events, ramps))


def _one_at_a_time(events: Sequence[Event], lead_s: float) -> bool:
    """Whether each event is announced and holds for at least `lead_s`, with no other event so near."""

    def reach(event: Event) -> tuple[float, float]:
        first_s, last_s = _holds(event)
        return first_s - lead_s, last_s

    return all(min(event.notice_s, event.hold_s) >= lead_s for event in events) and all(
        len(some) <= 1 for some in _together(events, reach)
    )


def _shortest_cover(leads_s: Float64Array, ahead_s: float) -> int:
    """Index of the shortest lead time that reaches `ahead_s`, -1 for none."""
    covering = np.flatnonzero(leads_s >= ahead_s)
    return int(covering[np.argmin(leads_s[covering])]) if covering.size else -1
