"""Forecasts err by a stated law."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.catalog import catalog_names, load_series
from tokenfleet.envs.layers.power.series import (
    ForecastSpec,
)
from tokenfleet.envs.layers.power.series.calendar import Calendar

DAYTIME_W_PER_M2 = 50.0


def test_errors_grow_with_the_lead_and_vanish_at_none() -> None:
    spec = ForecastSpec()
    sizes = [spec.growth(lead_h) for lead_h in (0.0, 0.25, 1.0, 3.0, 6.0, 12.0, 24.0)]
    assert sizes[0] == 0.0
    assert sizes[-1] == 1.0
    assert np.all(np.diff(sizes) > 0)


def test_an_error_path_has_variance_one_and_the_stated_memory() -> None:
    rng = np.random.default_rng(0)
    spec = ForecastSpec(memory_h=12.0)
    paths = np.array([spec.draw_error(Calendar(500.0, 1 / 3600), 48 * 3600.0, rng).path for _ in range(4000)])
    assert paths.std() == pytest.approx(1.0, rel=0.02)
    assert np.mean(paths[:, 0] * paths[:, 12]) == pytest.approx(np.exp(-1.0), abs=0.04)


def test_a_day_ahead_forecast_beats_saying_as_yesterday_in_every_shipped_year() -> None:
    spec, seen = ForecastSpec(), set()
    for name in catalog_names("series"):
        for column, values in load_series(name).columns.items():
            seen.add(column)
            change, day = np.roll(values, 24) - values, values > DAYTIME_W_PER_M2
            if column == "carbon_g_per_kwh":
                assert spec.carbon_error_fraction < change.std() / values.mean(), name
            if column == "dry_bulb_c":
                assert spec.outdoor_error_c < change.std(), name
            if column == "global_horizontal_w_m2":
                assert spec.solar_error_fraction < change[day].std() / values[day].mean(), name
    assert {"carbon_g_per_kwh", "dry_bulb_c", "global_horizontal_w_m2"} <= seen
