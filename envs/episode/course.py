"""The course of sites and rows from tick to tick: what chance decides about it, and the series that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.regimes import DrawnRegimes
from tokenfleet.envs.episode.signals import DrawnSignals, draw_signals
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.facility import pue
from tokenfleet.envs.layers.power import (
    CapSpec,
    RegulationSpec,
    announced_cap_w,
    brake_schedule_w,
    call_phases,
    called_schedule_w,
    cap_schedule_w,
    draw_events,
    rating_schedule_w,
)
from tokenfleet.envs.layers.power.events import CapEvent, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.layers.power.outlook import Outlook
from tokenfleet.envs.layers.power.regulation import cut
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import forecast_limits

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

LIMITS = ("cap_w", "rating_w", "brake_cap_w", "row_cap_w", "row_rating_w")
PER_TICK = (
    *LIMITS,
    "called_w",
    "call_phase",
    "regulation_signal",
    "price_usd_per_mwh",
    "carbon_g_per_kwh",
    "outdoor_c",
    "solar_w",
)
"""What an `Episode` holds of the course of its sites and rows: `[H, S]`, `[H, W]`, `[H, C]` or `[H, U]` each."""
ROW_CAPS = {"cap_w": "row_cap_w", "rating_w": "row_rating_w", "announced_cap_w": "announced_row_cap_w"}
"""What the caps of rows are called."""


@dataclass(frozen=True)
class DrawnCourse:
    """What chance decided.

    Attributes:
        scenario: as for `sample_episode`.
        site_events, row_events: what lowers the cap of each site, and of each row.
        signals: price, carbon intensity, weather.
        regulation: the signal of each site that regulates frequency before it is cut, `[H + 1]` each.
        site_outlooks, row_outlooks: what is told of each event before it is known; nothing where none is forecast.
    """

    scenario: Scenario
    site_events: tuple[tuple[CapEvent, ...], ...]
    row_events: tuple[tuple[CapEvent, ...], ...]
    signals: DrawnSignals
    regulation: tuple[Float64Array, ...]
    site_outlooks: tuple[tuple[Outlook, ...], ...]
    row_outlooks: tuple[tuple[Outlook, ...], ...]

    @classmethod
    def draw(
        cls, scenario: Scenario, split: Split, rng: np.random.Generator, signs: np.random.Generator
    ) -> DrawnCourse:
        """Let chance decide; `signs` of events are drawn apart, where events are forecast."""
        site_events = tuple(tuple(draw_events(site.grid, rng)) for site in scenario.sites.values())
        row_events = tuple(tuple(draw_events(row, rng)) for row in scenario.rows.values())
        signals = draw_signals(scenario, split, rng)
        ticks, tick_s = scenario.horizon_ticks + 1, scenario.tick_s
        regulation = tuple(spec.draw(ticks, tick_s, rng) for spec in scenario.regulators.values())
        outlooks = [
            _draw_outlooks(scenario, limits, events_of, signs)
            for limits, events_of in ((_grids(scenario), site_events), (_rows(scenario), row_events))
        ]
        return cls(scenario, site_events, row_events, signals, regulation, *outlooks)

    def go_on(self, tick: int, rng: np.random.Generator, told: np.random.Generator) -> DrawnCourse:
        """This course up to entry `tick`, and from there on another one in accord with what was known then.

        Args:
            tick: the last entry that is kept.
            rng: decides what follows; events that are announced, or have begun, stay. Others agree with their outlooks.
            told: draws past forecasts of signals that are not forecast to the policy.
        """
        now_s = tick * self.scenario.tick_s
        sites = zip(_grids(self.scenario), self.site_events, self.site_outlooks, strict=True)
        rows = zip(_rows(self.scenario), self.row_events, self.row_outlooks, strict=True)
        return replace(
            self,
            site_events=tuple(_other_events(*parts, now_s, rng) for parts in sites),
            row_events=tuple(_other_events(*parts, now_s, rng) for parts in rows),
            signals=self.signals.go_on(tick, rng, told),
            regulation=tuple(
                _other_signal(self.scenario, *pair, tick, rng)
                for pair in zip(self.scenario.regulators.values(), self.regulation, strict=True)
            ),
        )

    def series(self) -> dict[str, Float64Array]:
        """What no policy changes, before every tick and after the last, by name: `[H + 1, ...]` each."""
        scenario = self.scenario
        rows = _caps(scenario, self.row_events, [scenario.row_cap_w(*key) for key in scenario.rows])
        return {
            **_caps(scenario, self.site_events, [scenario.contract_w(name) for name in scenario.sites]),
            **{row_name: rows[name] for name, row_name in ROW_CAPS.items()},
            **_calls(scenario, self.site_events),
            "regulation_signal": cut(np.array(self.regulation).reshape(-1, scenario.horizon_ticks + 1).T),
            **self._prices(),
            "event_chance": self._event_chance(),
            "time_fraction": np.linspace(0, 1, scenario.horizon_ticks + 1),
        }

    def _prices(self) -> dict[str, Float64Array]:
        """The signals, with what events at a site add to its price, and how far prices may stray from forecasts."""
        scenario, leads_s = self.scenario, self.scenario.forecast_lead_s
        series = vars(self.signals.signals())
        now_s = _now_s(scenario)
        for s, (drawn, events) in enumerate(zip(self.signals.sites, self.site_events, strict=True)):
            law, calendar = drawn.site.grid.real_time_price, drawn.calendar
            if law is None or law.call_spike_usd_per_mwh is None:
                continue
            for event in events:
                if not event.comes:
                    continue
                series["price_usd_per_mwh"][:, s] += law.call_spike(calendar, now_s, event.start_s)
                for lead, lead_s in enumerate(leads_s):
                    ahead = law.call_spike(calendar, now_s + lead_s, event.start_s)
                    series["price_forecast_usd_per_mwh"][:, s, lead] += np.where(event.is_known(now_s), ahead, 0.0)
        hours_per_s = scenario.calendar.hours(1.0)
        spread = [[law.deviation(hours_per_s * lead_s) for lead_s in leads_s] for law in scenario.spread_sites.values()]
        table = np.array(spread).reshape(len(scenario.spread_sites), len(leads_s))
        return {**series, "price_spread_usd_per_mwh": np.broadcast_to(table, (len(now_s), *table.shape))}

    def _event_chance(self) -> Float64Array:
        """Chance that an event of each site, and of each row with events, is in force at each lead, `[H + 1, Z, F]`."""
        now_s, leads_s = _now_s(self.scenario), self.scenario.forecast_lead_s
        sites = dict(zip(self.scenario.sites, zip(self.site_events, self.site_outlooks, strict=True), strict=True))
        rows = dict(zip(self.scenario.rows, zip(self.row_events, self.row_outlooks, strict=True), strict=True))
        forecast_sites, forecast_rows = forecast_limits(self.scenario)
        told = [*(sites[site] for site in forecast_sites), *(rows[row] for row in forecast_rows)]
        none = np.ones((len(now_s), len(told), len(leads_s)))
        for z, (events, outlooks) in enumerate(told):
            for event, outlook in zip(events, outlooks, strict=True):
                for lead, lead_s in enumerate(leads_s):
                    none[:, z, lead] *= 1.0 - outlook.chance(event, now_s, lead_s)
        return 1.0 - none


def exogenous_of(series: dict[str, Float64Array]) -> Float32Array:
    """The fields of `fields.EXOGENOUS` side by side, `[H + 1, E]`."""
    values = [series[field.name] for field in EXOGENOUS]
    columns = [value.reshape(len(value), -1) for value in values if value.size]
    return np.concatenate(columns, axis=1, dtype=np.float32, casting="same_kind")


def pue_of(scenario: Scenario, outdoor_c: Float64Array, factor: float | None, regimes: DrawnRegimes) -> Float64Array:
    """PUE at `outdoor_c`, `[H, S]`; regimes, and `factor` unless it is None, multiply the part above 1."""
    facilities = [site.facility for site in scenario.sites.values()]
    plain = np.stack([pue(facility, outdoor_c[:, s]) for s, facility in enumerate(facilities)], axis=1)
    plain = plain if factor is None else 1.0 + (plain - 1.0) * factor
    return 1.0 + (plain - 1.0) * regimes.cooling_factor() if scenario.regimes else plain


def _caps(
    scenario: Scenario, events_of: Sequence[Sequence[CapEvent]], contracts_w: Sequence[float]
) -> dict[str, Float64Array]:
    """The caps of D limits through the episode, `[H + 1, D]` each, announced ones `[H + 1, D, L]`."""
    now_s = _now_s(scenario)
    contract_w, leads_s = np.array(contracts_w, np.float64), scenario.announced_lead_s
    caps = {
        "cap_w": np.full((len(now_s), len(events_of)), contract_w),
        "rating_w": np.full((len(now_s), len(events_of)), contract_w),
        "brake_cap_w": np.full((len(now_s), len(events_of)), contract_w),
        "announced_cap_w": np.full((len(now_s), len(events_of), len(leads_s)), contract_w[:, None]),
    }
    for d, events in enumerate(events_of):
        if not events:
            continue
        caps["cap_w"][:, d] = cap_schedule_w(events, contracts_w[d], now_s)
        caps["rating_w"][:, d] = rating_schedule_w(events, contracts_w[d], now_s)
        caps["brake_cap_w"][:, d] = brake_schedule_w(events, contracts_w[d], now_s)
        for lead, lead_s in enumerate(leads_s):
            caps["announced_cap_w"][:, d, lead] = announced_cap_w(events, contracts_w[d], now_s, lead_s)
    return caps


def _calls(scenario: Scenario, events_of: Sequence[Sequence[CapEvent]]) -> dict[str, Float64Array]:
    """Calls of the programmes of C sites through the episode, and their prices, `[H + 1, C]` each."""
    now_s = _now_s(scenario)
    events = dict(zip(scenario.sites, events_of, strict=True))
    calls = {
        name: np.zeros((len(now_s), len(scenario.programmes)))
        for name in ("called_w", "call_phase", "damages_usd_per_mwh", "activation_usd_per_mwh")
    }
    for c, (site, programme) in enumerate(scenario.programmes.items()):
        calls["called_w"][:, c] = called_schedule_w(events[site], scenario.contract_w(site), now_s)
        calls["call_phase"][:, c] = call_phases(programme, events[site], now_s)
        calls["damages_usd_per_mwh"][:, c] = programme.damages_usd_per_mwh
        calls["activation_usd_per_mwh"][:, c] = programme.activation_usd_per_mwh
    return calls


def _now_s(scenario: Scenario) -> Float64Array:
    """The time before every tick and after the last, `[H + 1]` [s]."""
    return scenario.tick_s * np.arange(scenario.horizon_ticks + 1, dtype=np.float64)


def _grids(scenario: Scenario) -> list[CapSpec]:
    """What limits each site."""
    return [site.grid for site in scenario.sites.values()]


def _rows(scenario: Scenario) -> list[CapSpec]:
    """What limits each row."""
    return list(scenario.rows.values())


def _draw_outlooks(
    scenario: Scenario, limits: Sequence[CapSpec], events_of: Sequence[Sequence[CapEvent]], rng: np.random.Generator
) -> tuple[tuple[Outlook, ...], ...]:
    """What is told of each event of D limits; nothing, undrawn, where no event is forecast."""
    forecast = scenario.forecast.events
    if forecast is None:
        return ((),) * len(limits)
    return tuple(
        tuple(Outlook.draw(spec, forecast, event, rng) for spec, event in zip(limit.events, events, strict=True))
        for limit, events in zip(limits, events_of, strict=True)
    )


def _other_events(
    limit: CapSpec, events: Sequence[CapEvent], outlooks: Sequence[Outlook], now_s: float, rng: np.random.Generator
) -> tuple[CapEvent, ...]:
    """The events known at `now_s`, and others in the place of those that are not."""
    told: Sequence[Outlook | None] = outlooks or [None] * len(events)
    parts = zip(limit.events, events, told, strict=True)
    return tuple(
        event if event.is_known(np.array(now_s)) else _unknown_event(spec, outlook, now_s, rng)
        for spec, event, outlook in parts
    )


def _other_signal(
    scenario: Scenario, spec: RegulationSpec, path: Float64Array, tick: int, rng: np.random.Generator
) -> Float64Array:
    """A signal of regulation: as `path` is sent up to entry `tick`, then a drawn continuation."""
    now = spec.beyond_the_cut(float(path[tick]), rng)
    later = spec.go_on(now, len(path) - tick, scenario.tick_s, rng)
    return np.concatenate([path[:tick], later])


def _unknown_event(
    spec: DemandResponseSpec | EmergencySpec, outlook: Outlook | None, now_s: float, rng: np.random.Generator
) -> CapEvent:
    """An event that nobody knows of at `now_s`: by its outlook, or else drawn until it is unknown."""
    if outlook is not None:
        return outlook.other_event(now_s, rng)
    while (event := spec.draw(rng)).is_known(np.array(now_s)):
        pass
    return event
