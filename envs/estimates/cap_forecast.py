"""What caps can do next, from what is announced of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power import CapSpec, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]
CapEventSpec = DemandResponseSpec | EmergencySpec


class CapForecast:
    """The lowest that the caps of sites, or of rows, can be over the next moments, from what is announced.

    Three lower bounds hold, the highest counts. With L the shortest announced lead time that covers the moments:

    - *slope*: an event takes at most `depth / ramp_s` of the contract per second, so the cap cannot fall faster than
      the sum over events that can coincide;
    - *announced*: an event that no other can meet falls, holds and recovers, so between now and L the cap is at least
      the lower of its two ends, provided that the notice is no shorter than L (an emergency gives none) and the hold
      lasts at least L;
    - *depth*: it never falls below the contract with every event that can coincide at its full depth.

    Args:
        limits: D limits with their events.
        contract_w: their caps outside events, `[D]` [W].
        leads_s: how far ahead caps are announced [s].
        ahead_s: how far ahead to look, `[D]` [s].

    Attributes:
        deepest_w: the lowest that the caps can ever be, `[D]` [W].
    """

    def __init__(
        self, limits: Sequence[CapSpec], contract_w: Sequence[float], leads_s: Sequence[float], ahead_s: Float64Array
    ) -> None:
        self._contract_w, leads = np.array(contract_w, dtype=np.float64), np.array(leads_s)
        events = [limit.events for limit in limits]
        groups = [coinciding(some) for some in events]
        left = [min(math.prod(1.0 - event.deepest_fraction for event in group) for group in some) for some in groups]
        self.deepest_w = self._contract_w * np.array(left, dtype=np.float64)
        slope = [max(sum(e.deepest_fraction / max(e.ramp_s, 1e-9) for e in group) for group in some) for some in groups]
        self._fall_w = self._contract_w * np.array(slope, dtype=np.float64) * ahead_s
        self._lead = np.array([_shortest_cover(leads, ahead) for ahead in ahead_s], dtype=np.int64)
        self._announced_counts = np.array(
            [
                lead >= 0
                and all(len(group) <= 1 for group in some)
                and all(min(event.notice_s, event.hold_s) >= leads[lead] for group in some for event in group)
                for lead, some in zip(self._lead, groups, strict=True)
            ],
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
        """The lowest that the caps can be from now until `ahead_s`, `[N, D]` [W].

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


def coinciding(events: Sequence[CapEventSpec]) -> list[list[CapEventSpec]]:
    """Groups of events that can lower a cap at the same moment; one empty group where there is no event.

    An event can act from its earliest start until its latest end. Of intervals on a line, those that share a moment
    share the start of one of them, so there is a group for each start.
    """

    def acts_at(event: CapEventSpec, time_s: float) -> bool:
        latest_end_s = event.latest_start_s + event.ramp_s + event.hold_s + event.recovery_s
        return event.earliest_start_s <= time_s <= latest_end_s

    groups = [[event for event in events if acts_at(event, start.earliest_start_s)] for start in events]
    return groups or [[]]


def _shortest_cover(leads_s: Float64Array, ahead_s: float) -> int:
    """Index of the shortest lead time that reaches `ahead_s`, -1 for none."""
    covering = np.flatnonzero(leads_s >= ahead_s)
    return int(covering[np.argmin(leads_s[covering])]) if covering.size else -1
