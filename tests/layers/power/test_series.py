"""Recorded series: a year of values at their hours, with published means."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.catalog import catalog_names, load_series
from tokenfleet.envs.layers.power.series.calendar import HOURS_PER_YEAR

HOURS = np.arange(HOURS_PER_YEAR, dtype=np.float64)


@pytest.mark.parametrize(("name", "column", "mean"), [
    ("caiso-2023-price", "price_usd_per_mwh", 61.52),
    ("pjm-2023-price", "price_usd_per_mwh", 35.74),
    ("nyiso-2023-price", "price_usd_per_mwh", 36.38),
    ("ercot-2023-price", "price_usd_per_mwh", 55.94),
    ("de-lu-2023-price", "price_usd_per_mwh", 102.57),
    ("caiso-2022-carbon", "carbon_g_per_kwh", 256.2),
    ("pjm-2022-carbon", "carbon_g_per_kwh", 362.7),
    ("ercot-2022-carbon", "carbon_g_per_kwh", 347.2),
    ("miso-2022-carbon", "carbon_g_per_kwh", 440.6),
    ("dallas-weather", "dry_bulb_c", 19.8),
    ("leesburg-va-weather", "dry_bulb_c", 13.8),
    ("phoenix-weather", "dry_bulb_c", 24.7),
    ("san-jose-weather", "dry_bulb_c", 15.2),
])  # fmt: skip
def test_the_mean_of_a_shipped_year_is_the_published_one(name: str, column: str, mean: float) -> None:
    assert load_series(name).columns[column].mean() == pytest.approx(mean, abs=0.06)


@pytest.mark.parametrize(("name", "utc_offset_h"), [
    ("caiso-2023-price", -8),
    ("pjm-2023-price", -5),
    ("nyiso-2023-price", -5),
    ("ercot-2023-price", -6),
    ("de-lu-2023-price", 1),
])  # fmt: skip
def test_every_market_is_dearest_in_its_own_evening(name: str, utc_offset_h: int) -> None:
    """The check that found three of the source's files shifted to UTC twice."""
    price = np.roll(load_series(name).columns["price_usd_per_mwh"], utc_offset_h).reshape(365, 24)
    for season in (price[[*range(59), *range(334, 365)]], price[120:243]):
        assert 16 <= int(np.median(season, axis=0).argmax()) <= 20


def test_california_is_cheap_and_clean_when_its_sun_is_high() -> None:
    spring = slice(60 * 24, 150 * 24)
    price = np.roll(load_series("caiso-2023-price").columns["price_usd_per_mwh"], -8)[spring].reshape(-1, 24)
    carbon = np.roll(load_series("caiso-2022-carbon").columns["carbon_g_per_kwh"], -8)[spring].reshape(-1, 24)
    assert 9 <= int(np.median(price, axis=0).argmin()) <= 15
    assert 9 <= int(np.median(carbon, axis=0).argmin()) <= 15


@pytest.mark.parametrize(("name", "utc_offset_h"), [
    ("dallas-weather", -6),
    ("leesburg-va-weather", -5),
    ("phoenix-weather", -7),
    ("san-jose-weather", -8),
])  # fmt: skip
def test_the_recorded_sun_is_up_by_day_and_down_at_night(name: str, utc_offset_h: int) -> None:
    irradiance = load_series(name)
    local = HOURS + 0.5
    value = irradiance.at("global_horizontal_w_m2", local - utc_offset_h).reshape(365, 24)
    assert value[:, [0, 1, 2, 3, 22, 23]].max() == 0.0
    assert value[:, 12].min() > 10.0


@pytest.mark.parametrize("name", catalog_names("series"))
def test_interpolation_is_exact_at_the_hours_and_between_neighbours_elsewhere(name: str) -> None:
    series = load_series(name)
    for column, values in series.columns.items():
        stands_h = HOURS + series.spec.columns[column].first_h
        np.testing.assert_allclose(series.at(column, stands_h), values, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(series.at(column, stands_h + 0.5), (values + np.roll(values, -1)) / 2, atol=1e-6)


def test_every_shipped_series_says_where_it_comes_from() -> None:
    specs = [load_series(name).spec for name in catalog_names("series")]
    assert [spec.name for spec in specs if not (spec.source and spec.license and spec.attribution)] == []
    assert [spec.name for spec in specs if not all(column.meaning for column in spec.columns.values())] == []
