"""Price, carbon intensity, outdoor temperature and solar power of every site in one episode, and their forecasts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.series import Calendar, Split, draw_calendar, signal_at
from tokenfleet.envs.layers.power.series.forecast import ErrorPath
from tokenfleet.envs.layers.power.series.real_time import (
    SETTLEMENT_H,
    WARM_UP_DECAYS,
    RealTimePriceSpec,
    Residual,
    SharedJumps,
    Surroundings,
)
from tokenfleet.envs.scenario import Scenario, SiteSpec

Float64Array = NDArray[np.float64]
FloatOrArray = float | Float64Array
Weather = tuple[FloatOrArray, FloatOrArray, FloatOrArray]
"""Carbon intensity [g/kWh], temperature [C] and solar power [W]."""

_CONSTANT = Calendar(start_h=0.0, hours_per_s=0.0)


@dataclass(frozen=True)
class Signals:
    """T times, S sites, F forecast leads.

    Attributes:
        price_usd_per_mwh, carbon_g_per_kwh, outdoor_c, solar_w: `[T, S]`.
        price_forecast_usd_per_mwh, carbon_forecast_g_per_kwh, outdoor_forecast_c, solar_forecast_w: what is expected
            for each lead ahead of each time, `[T, S, F]`.
    """

    price_usd_per_mwh: Float64Array
    carbon_g_per_kwh: Float64Array
    outdoor_c: Float64Array
    solar_w: Float64Array
    price_forecast_usd_per_mwh: Float64Array
    carbon_forecast_g_per_kwh: Float64Array
    outdoor_forecast_c: Float64Array
    solar_forecast_w: Float64Array


def draw_signals(scenario: Scenario, split: Split, rng: np.random.Generator) -> DrawnSignals:
    """Let chance decide; nothing is drawn from `rng` where nothing varies.

    Args:
        scenario: of the fleet.
        split: whose weeks of the year to draw from.
        rng: all chance comes from it.
    """
    sites = list(scenario.sites.values())
    varies = any(site.varies for site in sites)
    window_s = scenario.calendar_window_s
    calendar = draw_calendar(scenario.calendar, window_s, split, rng) if varies else _CONSTANT
    shared = _draw_shared(scenario, calendar, rng)
    return DrawnSignals(scenario, tuple(_SiteSignals.draw(scenario, site, calendar, shared, rng) for site in sites))


@dataclass(frozen=True)
class DrawnSignals:
    """What chance decided for every site."""

    scenario: Scenario
    sites: tuple[_SiteSignals, ...]

    def signals(self) -> Signals:
        """The signals before every tick and after the last, T = horizon + 1."""
        leads_s, count = self.scenario.forecast_lead_s, self.scenario.horizon_ticks + 1
        values = np.empty((4, count, len(self.sites)))
        forecasts = np.empty((4, count, len(self.sites), len(leads_s)))
        for s, site in enumerate(self.sites):
            for quantity, now in enumerate(site.at_lead(0.0)):
                values[quantity, :, s] = now
            for lead, lead_s in enumerate(leads_s):
                for quantity, ahead in enumerate(site.at_lead(lead_s)):
                    forecasts[quantity, :, s, lead] = ahead
        return Signals(*values, *forecasts)

    def go_on(self, tick: int, rng: np.random.Generator, told: np.random.Generator) -> DrawnSignals:
        """These signals up to entry `tick`, and from there on drawn ones that agree with what was known then.

        Day-ahead prices are known; the real-time price wanders on from where it stands. Carbon intensity, temperature
        and sun come as forecast, with an error of the size that such forecasts have.

        Args:
            tick: the last entry that is kept.
            rng: decides what follows.
            told: draws past forecasts where the scenario shows none.
        """
        shared = _draw_shared(self.scenario, self.sites[0].calendar, rng)
        return replace(self, sites=tuple(site.go_on(tick, shared, rng, told) for site in self.sites))


@dataclass(frozen=True)
class _SiteSignals:
    """What chance decided for one site.

    Attributes:
        scenario, site, calendar: whose, where and when.
        time_s: of every entry, `[T]`.
        residual: of the real-time price.
        errors: of the forecasts of carbon intensity, temperature and sun.
        expected: the signals that these continue, and from which time on [s]; None for signals that continue none.
    """

    scenario: Scenario
    site: SiteSpec
    calendar: Calendar
    time_s: Float64Array
    residual: Residual | None
    errors: tuple[ErrorPath, ErrorPath, ErrorPath] | None
    expected: tuple[_SiteSignals, float] | None = None

    @classmethod
    def draw(
        cls,
        scenario: Scenario,
        site: SiteSpec,
        calendar: Calendar,
        shared: SharedJumps | None,
        rng: np.random.Generator,
    ) -> _SiteSignals:
        time_s = scenario.tick_s * np.arange(scenario.horizon_ticks + 1, dtype=np.float64)
        real_time = site.grid.real_time_price
        around = _surroundings(site, shared)
        residual = real_time.draw(calendar, time_s, rng, around) if real_time else None
        forecasts = site.varies and scenario.forecast_lead_s
        errors = _draw_errors(scenario, calendar, rng) if forecasts else None
        return cls(scenario, site, calendar, time_s, residual, errors)

    def go_on(
        self, tick: int, shared: SharedJumps | None, rng: np.random.Generator, told: np.random.Generator
    ) -> _SiteSignals:
        """See `DrawnSignals.go_on`."""
        residual = self.residual
        if residual is not None:
            around = _surroundings(self.site, shared)
            residual = residual.spec.go_on(residual, tick, self.calendar, self.time_s, rng, around)
        if not self.site.varies:
            return replace(self, residual=residual)
        before = self if self.errors else replace(self, errors=_draw_errors(self.scenario, self.calendar, told))
        errors = _draw_errors(self.scenario, self.calendar, rng)
        return replace(self, residual=residual, errors=errors, expected=(before, float(self.time_s[tick])))

    def at_lead(self, lead_s: float) -> tuple[FloatOrArray, FloatOrArray, FloatOrArray, FloatOrArray]:
        """Price, carbon intensity, temperature and solar power expected `lead_s` ahead, the truth at 0.

        `[T]` each, or a number that holds at all times.
        """
        time_s = self.time_s + lead_s
        lead_h = lead_s * self.calendar.hours_per_s
        growth = self.scenario.forecast.growth(lead_h) if lead_s > 0.0 else 0.0
        price = signal_at(self.site.grid.price_usd_per_mwh, self.calendar.hour(time_s))
        residual = self.residual.expected(lead_h) if self.residual else 0.0
        weather = self._told(self._truth(time_s), time_s, growth)
        tariff = self.site.grid.tariff
        adder = tariff.adder_usd_per_mwh(self.calendar.hour(time_s), weather[0]) if tariff else 0.0
        return (price + residual + adder, *weather)

    def _truth(self, time_s: Float64Array) -> Weather:
        """Carbon intensity, temperature and solar power at times of any shape."""
        if self.expected is None:
            hour, site = self.calendar.hour(time_s), self.site
            return (
                signal_at(site.grid.carbon_g_per_kwh, hour),
                signal_at(site.facility.outdoor_c, hour),
                self._solar_w(hour),
            )
        before, since_s = self.expected
        growth = self.scenario.forecast.growth_over((time_s - since_s) * self.calendar.hours_per_s)
        forecast = before._told(before._truth(time_s), time_s, growth)
        carbon, outdoor, solar = self._told(forecast, time_s, -growth)
        return carbon, outdoor, np.minimum(solar, self.site.solar.peak_w) if self.site.solar else solar

    def _told(self, truth: Weather, time_s: Float64Array, growth: FloatOrArray) -> Weather:
        """Forecasts for these times, with errors of `growth` times their size a day ahead."""
        if self.errors is None:
            return truth
        hour, forecast = self.calendar.hour(time_s), self.scenario.forecast
        carbon, outdoor, solar = (growth * path.at(hour) for path in self.errors)
        return (
            truth[0] * np.maximum(1.0 + forecast.carbon_error_fraction * carbon, 0.0),
            truth[1] + forecast.outdoor_error_c * outdoor,
            truth[2] * np.maximum(1.0 + forecast.solar_error_fraction * solar, 0.0),
        )

    def _solar_w(self, hour: Float64Array) -> FloatOrArray:
        solar = self.site.solar
        return solar.power_w(signal_at(solar.irradiance_w_per_m2, hour)) if solar else 0.0


def _surroundings(site: SiteSpec, shared: SharedJumps | None) -> Surroundings:
    """What the jumps of a site's price depend on; heat is that of the recorded year."""
    return Surroundings(shared, lambda hour: signal_at(site.facility.outdoor_c, hour))


def _draw_shared(scenario: Scenario, calendar: Calendar, rng: np.random.Generator) -> SharedJumps | None:
    """Jumps of the price that several sites share, from long before the episode on; None, undrawn, if no site does."""
    specs = [(site, site.grid.real_time_price) for site in scenario.sites.values()]
    sharing = [(site, spec) for site, spec in specs if spec is not None and spec.shared_fraction is not None]
    if not sharing:
        return None
    first_h, last_h = calendar.hour(np.array([0.0, scenario.horizon_s]))
    before_h = max(WARM_UP_DECAYS / spec.spike_decay_per_h for _, spec in sharing)
    first, last = (int(np.floor(hour / SETTLEMENT_H)) for hour in (first_h - before_h, last_h))
    hours: Float64Array = SETTLEMENT_H * np.arange(first - 1, last + 2, dtype=np.float64)
    highest = max(_highest_shared_per_h(site, spec, hours) for site, spec in sharing)
    return SharedJumps.draw(highest, first - 1, last - first + 3, rng)


def _highest_shared_per_h(site: SiteSpec, spec: RealTimePriceSpec, hours: Float64Array) -> float:
    factor = (
        1.0 if spec.heat is None else float(np.max(spec.heat.rate_factor(signal_at(site.facility.outdoor_c, hours))))
    )
    return spec.shared_per_h * factor


def _draw_errors(
    scenario: Scenario, calendar: Calendar, rng: np.random.Generator
) -> tuple[ErrorPath, ErrorPath, ErrorPath]:
    """Errors of variance one a day ahead: of carbon intensity, temperature and solar power."""
    end_s = scenario.calendar_window_s
    carbon, outdoor, solar = (scenario.forecast.draw_error(calendar, end_s, rng) for _ in range(3))
    return carbon, outdoor, solar
