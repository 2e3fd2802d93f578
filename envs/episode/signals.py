"""Price, carbon intensity, outdoor temperature and solar power of every site in one episode, and their forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.series import Calendar, Split, draw_calendar, signal_at
from tokenfleet.envs.layers.power.series.forecast import ErrorPath
from tokenfleet.envs.layers.power.series.real_time import Residual
from tokenfleet.envs.scenario import Scenario, SiteSpec

Float64Array = NDArray[np.float64]
FloatOrArray = float | Float64Array

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


def sample_signals(scenario: Scenario, split: Split, rng: np.random.Generator) -> Signals:
    """Draw the signals before every tick and after the last, T = horizon + 1.

    Nothing is drawn from `rng` where nothing varies.

    Args:
        scenario: of the fleet.
        split: whose weeks of the year to draw from.
        rng: all chance comes from it.
    """
    sites = list(scenario.sites.values())
    varies = any(site.varies for site in sites)
    window_s = scenario.calendar_window_s
    calendar = draw_calendar(scenario.calendar, window_s, split, rng) if varies else _CONSTANT
    drawn = [_SiteSignals.draw(scenario, site, calendar, rng) for site in sites]
    count, leads_s = scenario.horizon_ticks + 1, scenario.forecast_lead_s
    values = np.empty((4, count, len(sites)))
    forecasts = np.empty((4, count, len(sites), len(leads_s)))
    for s, site in enumerate(drawn):
        for quantity, now in enumerate(site.at_lead(0.0)):
            values[quantity, :, s] = now
        for lead, lead_s in enumerate(leads_s):
            for quantity, ahead in enumerate(site.at_lead(lead_s)):
                forecasts[quantity, :, s, lead] = ahead
    return Signals(*values, *forecasts)


@dataclass(frozen=True)
class _SiteSignals:
    """What chance decided for one site: the residual of its price, and the errors of its forecasts."""

    scenario: Scenario
    site: SiteSpec
    calendar: Calendar
    time_s: Float64Array  # [T]
    residual: Residual | None
    errors: tuple[ErrorPath, ErrorPath, ErrorPath] | None  # carbon, temperature, solar

    @classmethod
    def draw(cls, scenario: Scenario, site: SiteSpec, calendar: Calendar, rng: np.random.Generator) -> _SiteSignals:
        time_s = scenario.tick_s * np.arange(scenario.horizon_ticks + 1, dtype=np.float64)
        real_time = site.grid.real_time_price
        residual = real_time.draw(calendar, time_s, rng) if real_time else None
        errors = None
        if site.varies and scenario.forecast_lead_s:
            end_s = scenario.calendar_window_s
            carbon, outdoor, solar = (scenario.forecast.draw_error(calendar, end_s, rng) for _ in range(3))
            errors = (carbon, outdoor, solar)
        return cls(scenario, site, calendar, time_s, residual, errors)

    def at_lead(self, lead_s: float) -> tuple[FloatOrArray, FloatOrArray, FloatOrArray, FloatOrArray]:
        """Price, carbon intensity, temperature and solar power expected `lead_s` ahead, the truth at 0.

        `[T]` each, or a number that holds at all times.
        """
        hour = self.calendar.hour(self.time_s + lead_s)
        lead_h = lead_s * self.calendar.hours_per_s
        carbon, outdoor, solar = self._errors(hour, lead_h)
        forecast, grid = self.scenario.forecast, self.site.grid
        carbon_share = 1.0 + forecast.carbon_error_fraction * carbon
        solar_share = 1.0 + forecast.solar_error_fraction * solar
        return (
            signal_at(grid.price_usd_per_mwh, hour) + (self.residual.expected(lead_h) if self.residual else 0.0),
            signal_at(grid.carbon_g_per_kwh, hour) * np.maximum(carbon_share, 0.0),
            signal_at(self.site.facility.outdoor_c, hour) + forecast.outdoor_error_c * outdoor,
            self._solar_w(hour) * np.maximum(solar_share, 0.0),
        )

    def _errors(self, hour: Float64Array, lead_h: float) -> tuple[FloatOrArray, FloatOrArray, FloatOrArray]:
        """Errors of variance one a day ahead: of carbon intensity, temperature and solar power."""
        if self.errors is None:
            return 0.0, 0.0, 0.0
        growth = self.scenario.forecast.growth(lead_h)
        carbon, outdoor, solar = (growth * path.at(hour) for path in self.errors)
        return carbon, outdoor, solar

    def _solar_w(self, hour: Float64Array) -> FloatOrArray:
        solar = self.site.solar
        return solar.power_w(signal_at(solar.irradiance_w_per_m2, hour)) if solar else 0.0
