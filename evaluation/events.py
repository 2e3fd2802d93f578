"""Scorecards of demand-response events: how a fleet answered each call, for whoever relies on it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.power.events import CapEvent
from tokenfleet.envs.layers.power.programme import calls_of
from tokenfleet.envs.vector import FleetVectorEnv

Float64Array = NDArray[np.float64]

USUAL_SPAN_S = 60.0
"""Before the notice, for the baseline, and after the event, for the rebound, where no programme says how long [s]."""


@dataclass(frozen=True)
class EventCard:
    """How one event went; power is the mean grid power of a tick, and NaN stands where no tick tells the number.

    Attributes:
        policy: label.
        seed: of the episode.
        site: whose cap it lowered.
        event: number of the event at its site.
        notice_s, start_s, end_s: when it was announced, began and had recovered [s of the episode].
        called_w: what it took of the contract at full depth [W].
        baseline_w: mean power before the notice [W].
        depth: mean share of the called reduction, from the baseline, that was delivered while it held; 0 to 1.
        response_s: from the start until power was first at or below the called cap [s].
        kept_s: time at or below the called cap while it held [s].
        kept_share: `kept_s` over the time for which it held.
        rebound_w: highest power after it, less the baseline [W].
        slo_attainment: of the fleet's requests that ended during the event, the share within their SLO.
        slo_before: the same before it was announced.
    """

    policy: str
    seed: int
    site: str
    event: int
    notice_s: float
    start_s: float
    end_s: float
    called_w: float
    baseline_w: float
    depth: float
    response_s: float
    kept_s: float
    kept_share: float
    rebound_w: float
    slo_attainment: float
    slo_before: float


@dataclass(frozen=True)
class Course:
    """What one fleet did in H ticks.

    Attributes:
        tick_s: length of a tick [s].
        power_w: of one site, `[H]` [W].
        in_slo, ended: requests ended within their SLO, and all requests ended, `[H]`.
    """

    tick_s: float
    power_w: Float64Array
    in_slo: Float64Array
    ended: Float64Array

    def during(self, first_s: float, end_s: float) -> NDArray[np.bool_]:
        """The ticks that begin in a span, `[H]`."""
        start_s = self.tick_s * np.arange(len(self.power_w))
        inside: NDArray[np.bool_] = (start_s >= first_s) & (start_s < end_s)
        return inside

    def slo_attainment(self, first_s: float, end_s: float) -> float:
        """Of the requests that ended in a span, the share within their SLO; NaN without any."""
        inside = self.during(first_s, end_s)
        ended = float(self.ended[inside].sum())
        return float(self.in_slo[inside].sum()) / ended if ended else float("nan")


@dataclass(frozen=True)
class Call:
    """One event of one site, and the spans by which it is judged.

    Attributes:
        site: name.
        number: of the event at its site.
        event: as drawn.
        contract_w: of the site [W].
        baseline_s, rebound_s: spans before the notice and after the end [s].
    """

    site: str
    number: int
    event: CapEvent
    contract_w: float
    baseline_s: float
    rebound_s: float


def score_event(policy: str, seed: int, call: Call, course: Course) -> EventCard:
    """The card of one event, from the power of its site and the endings of the fleet's requests."""
    event, called_w = call.event, call.event.depth_fraction * call.contract_w
    notice_s, full_s = event.start_s - event.notice_s, event.start_s + event.ramp_s
    held = course.during(full_s, full_s + event.hold_s)
    below = course.power_w <= call.contract_w - called_w
    baseline_w = _mean(course.power_w[course.during(notice_s - call.baseline_s, notice_s)])
    delivered_w = np.clip(baseline_w - course.power_w[held], 0.0, called_w)
    reached = np.flatnonzero(below & course.during(event.start_s, event.end_s))
    after_w = course.power_w[course.during(event.end_s, event.end_s + call.rebound_s)]
    kept_s, held_s = float((below & held).sum()) * course.tick_s, float(held.sum()) * course.tick_s
    return EventCard(
        policy=policy,
        seed=seed,
        site=call.site,
        event=call.number,
        notice_s=notice_s,
        start_s=event.start_s,
        end_s=event.end_s,
        called_w=called_w,
        baseline_w=baseline_w,
        depth=_mean(delivered_w) / called_w,
        response_s=max(float(reached[0]) * course.tick_s - event.start_s, 0.0) if len(reached) else float("nan"),
        kept_s=kept_s,
        kept_share=kept_s / held_s if held_s else float("nan"),
        rebound_w=float(after_w.max()) - baseline_w if len(after_w) else float("nan"),
        slo_attainment=course.slo_attainment(event.start_s, event.end_s),
        slo_before=course.slo_attainment(0.0, notice_s),
    )


class EventRecorder:
    """Watches the fleets of a batch tick by tick, and scores the events of an episode when it has ended.

    Args:
        fleet: the environment, before its first step; it calls the recorder after every tick if a site has events.
    """

    def __init__(self, fleet: FleetVectorEnv) -> None:
        scenario = fleet.scenario
        self._fleet = fleet
        self._grids = {name: site.grid for name, site in scenario.sites.items()}
        shape = fleet.num_envs, scenario.horizon_ticks
        self._power_w = np.zeros((*shape, len(self._grids)))
        self._in_slo, self._ended = np.zeros(shape), np.zeros(shape)
        self._tick = np.zeros(fleet.num_envs, np.int64)
        if any(grid.demand_response for grid in self._grids.values()):
            fleet.on_tick = self._keep

    def _keep(self) -> None:
        outcome, tick = self._fleet.engine.outcome, self._fleet.tick
        moved = np.flatnonzero(tick == self._tick + 1)  # an episode that is over begins anew: it has been scored
        self._tick[moved] += 1
        at = moved, self._tick[moved] - 1
        self._power_w[at] = outcome["energy_j"][moved] / self._fleet.scenario.tick_s
        in_slo = outcome["completed_in_slo"][moved].sum(axis=1)
        others = sum(outcome[name][moved].sum(axis=1) for name in ("completed_late", "refused", "expired"))
        self._in_slo[at], self._ended[at] = in_slo, in_slo + others

    def cards(self, policy: str, seed: int, index: int) -> Iterator[EventCard]:
        """One card for each demand-response event of the episode that fleet `index` has ended."""
        episode = self._fleet.episodes[index]
        assert episode is not None
        for call, s in self._calls(episode):
            ticks = int(self._tick[index])
            power_w = self._power_w[index, :ticks, s]
            sums = self._in_slo[index, :ticks], self._ended[index, :ticks]
            yield score_event(policy, seed, call, Course(self._fleet.scenario.tick_s, power_w, *sums))

    def _calls(self, episode: Episode) -> Iterator[tuple[Call, int]]:
        if episode.origin is None:
            return
        for s, (site, grid) in enumerate(self._grids.items()):
            programme = grid.programme
            spans = (
                (USUAL_SPAN_S, USUAL_SPAN_S)
                if programme is None
                else (programme.baseline_s, programme.rebound_s or USUAL_SPAN_S)
            )
            for number, event in enumerate(calls_of(episode.origin.course.site_events[s])):
                yield Call(site, number, event, self._fleet.scenario.contract_w(site), *spans), s


def cards_csv(cards: Sequence[EventCard]) -> str:
    """One line for each card, in the order in which they were given."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(EventCard)])
    writer.writerows(astuple(card) for card in cards)
    return text.getvalue()


def _mean(values: Float64Array) -> float:
    return float(values.mean()) if len(values) else float("nan")
