"""Signals: numbers, recorded columns and laws with known answers, and every mistake in them by its key."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.catalog import load_series
from tokenfleet.envs.layers.power import GridSpec
from tokenfleet.envs.layers.power.series import (
    SignalSpec,
    SolarSpec,
    signal_at,
)
from tokenfleet.envs.layers.power.series.calendar import HOURS_PER_YEAR
from tokenfleet.envs.layers.power.series.signals import ClearSkySpec, DiurnalSpec, SeriesSpec
from tokenfleet.envs.spec import SpecError

HOURS = np.arange(HOURS_PER_YEAR, dtype=np.float64)


def test_a_number_stays_a_number() -> None:
    grid = GridSpec(cap_w=1.0, price_usd_per_mwh=45, carbon_g_per_kwh=300.0)
    assert grid.price_usd_per_mwh == 45.0
    assert grid.model_dump()["price_usd_per_mwh"] == 45.0


def test_a_signal_reads_the_column_of_its_quantity_scaled_and_shifted() -> None:
    grid = GridSpec.parse({"cap_w": 1, "price_usd_per_mwh": {"series": "caiso-2023-price", "scale": 2, "offset": 10}})
    expected = 10 + 2 * load_series("caiso-2023-price").columns["price_usd_per_mwh"]
    np.testing.assert_allclose(signal_at(grid.price_usd_per_mwh, HOURS + 0.5), expected, rtol=1e-6)


@pytest.mark.parametrize("signal", [
    SeriesSpec(series="ercot-2023-price", column="price_usd_per_mwh", scale=0.5, offset=3.0),
    DiurnalSpec(mean=20, daily_amplitude=8, yearly_amplitude=10, utc_offset_h=-7),
    ClearSkySpec(latitude_deg=-33.0, longitude_deg=151.0),
])  # fmt: skip
def test_no_value_falls_below_the_stated_bound(signal: SignalSpec) -> None:
    lowest = float(signal.at(np.arange(0, HOURS_PER_YEAR, 0.25)).min())
    assert signal.lowest - 1e-9 <= lowest <= signal.lowest + 0.1 * abs(signal.lowest) + 1e-9


def test_the_clear_sky_has_the_length_of_day_of_the_solstices() -> None:
    """Leesburg, 39.1 N: 14.9 h of sun in June, 9.4 h in December (sunrise equation, without refraction)."""
    sky = ClearSkySpec(latitude_deg=39.1, longitude_deg=-77.6)
    step_h = 0.01
    for day, daylight_h in ((171, 14.76), (354, 9.24)):
        hour = day * 24 + np.arange(5, 29, step_h)  # a solar day of the place
        assert (sky.at(hour) > 0).sum() * step_h == pytest.approx(daylight_h, abs=0.1)


def test_a_sunny_day_in_phoenix_is_as_bright_as_the_clear_sky() -> None:
    sky = ClearSkySpec(latitude_deg=33.4, longitude_deg=-112.0).at(HOURS + 0.5)
    measured = load_series("phoenix-weather").at("global_horizontal_w_m2", HOURS + 0.5)
    local_days = [np.roll(hourly, -7).reshape(365, 24).sum(axis=1) for hourly in (measured, sky)]
    assert np.median(local_days[0] / local_days[1]) == pytest.approx(1.0, abs=0.08)
    assert np.corrcoef(measured, sky)[0, 1] > 0.95


@pytest.mark.parametrize(("column", "lowest"), [("price_usd_per_mwh", None), ("carbon_g_per_kwh", 0.0)])
def test_prices_may_be_negative_and_carbon_not(column: str, lowest: float | None) -> None:
    data = {"cap_w": 1, column: -5.0}
    if lowest is None:
        assert GridSpec.parse(data).price_usd_per_mwh == -5.0
    else:
        with pytest.raises(SpecError, match=rf"{column}: must not fall below 0 \(its lowest value is -5\)"):
            GridSpec.parse(data)


@pytest.mark.parametrize(("signal", "message"), [
    ("dear", r"price_usd_per_mwh: must be a number, or a mapping such as \{series: name\} \(got 'dear'\)"),
    (True, "price_usd_per_mwh: must be a number"),
    (float("nan"), "price_usd_per_mwh: must be a number"),
    ({"series": "caiso-2023-prize"}, "price_usd_per_mwh.series: unknown name .*did you mean 'caiso-2023-price'"),
    ({"series": "pjm-2022-carbon"}, "price_usd_per_mwh.column: series 'pjm-2022-carbon' has no column 'price_usd"),
    ({"kind": "diurnl"}, "price_usd_per_mwh.kind: unknown kind of signal 'diurnl'; did you mean 'diurnal'"),
    ({"kind": "diurnal", "mean": 1, "peak": 3}, "price_usd_per_mwh.peak: unknown key; did you mean 'peak_day'"),
    ({}, "price_usd_per_mwh.series: missing"),
])  # fmt: skip
def test_a_wrong_signal_is_named_by_key_value_and_fix(signal: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        GridSpec.parse({"cap_w": 1, "price_usd_per_mwh": signal})


def test_panels_give_their_rating_times_the_ratio_and_nothing_at_night() -> None:
    solar = SolarSpec.parse({"peak_w": 1e6, "irradiance_w_per_m2": {"series": "phoenix-weather"}})
    power_w = solar.power_w(signal_at(solar.irradiance_w_per_m2, HOURS + 0.5))
    night = load_series("phoenix-weather").at("global_horizontal_w_m2", HOURS + 0.5) == 0.0
    assert power_w[night].max() == 0.0
    # 2,150 kWh/m2 a year on the level: a ratio of 0.8 makes 1,722 full hours.
    assert power_w.sum() / 1e6 == pytest.approx(0.8 * 245.76 * 8760 / 1000, rel=0.01)
