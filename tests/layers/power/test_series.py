"""Signals through the year: recorded values at their hours, splits that never meet, generators with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.fit import real_time_price
from tokenfleet.envs.catalog import catalog_names, load_series
from tokenfleet.envs.layers.power import GridSpec
from tokenfleet.envs.layers.power.series import (
    CalendarSpec,
    ForecastSpec,
    RealTimePriceSpec,
    SignalSpec,
    SolarSpec,
    draw_calendar,
    signal_at,
    split_blocks,
)
from tokenfleet.envs.layers.power.series.calendar import HOURS_PER_YEAR, Calendar, longest_window_h
from tokenfleet.envs.layers.power.series.signals import ClearSkySpec, DiurnalSpec, SeriesSpec
from tokenfleet.envs.spec import SpecError

SPLITS = ("train", "validation", "test")
DAYTIME_W_PER_M2 = 50.0
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


def test_the_splits_deal_out_the_whole_year_and_share_no_hour() -> None:
    owned = np.zeros(HOURS_PER_YEAR, dtype=int)
    for split in SPLITS:
        for begin, end in split_blocks(split):
            owned[begin:end] += 1
    assert owned.tolist() == [1] * HOURS_PER_YEAR


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS), window_h=st.floats(0.01, longest_window_h()))
def test_a_window_lies_inside_its_split_neighbours_included(seed: int, split: str, window_h: float) -> None:
    calendar = draw_calendar(CalendarSpec(), window_h * 3600.0, split, np.random.default_rng(seed))
    for first_h in (0.0, 0.5, 1.0):  # where a series may begin; its entries that interpolation touches:
        lowest = np.floor(calendar.start_h - first_h)
        highest = np.floor(calendar.start_h + window_h - first_h) + 1
        assert any(begin <= lowest and highest <= end for begin, end in split_blocks(split))


def test_windows_reach_every_hour_of_the_day_and_every_season() -> None:
    rng = np.random.default_rng(0)
    for split in SPLITS:
        start_h = np.array([draw_calendar(CalendarSpec(), 600.0, split, rng).start_h for _ in range(3000)])
        assert np.bincount((start_h % 24).astype(int), minlength=24).min() > 60
        assert np.bincount((start_h // (HOURS_PER_YEAR / 4)).astype(int), minlength=4).min() > 500


@settings(max_examples=100, deadline=None)
@given(
    days=st.tuples(st.integers(0, 300), st.integers(36, 64)),
    hours=st.tuples(st.floats(0.0, 20.0), st.floats(0.1, 4.0)),
    split=st.sampled_from(SPLITS),
    seed=st.integers(0, 2**32),
)
def test_a_season_and_hours_bound_where_an_episode_begins(
    days: tuple[int, int], hours: tuple[float, float], split: str, seed: int
) -> None:
    """Five weeks and a day hold a week of every split."""
    first, last, earliest, latest = days[0], days[0] + days[1], hours[0], hours[0] + hours[1]
    spec = CalendarSpec(first_day=first, last_day=last, start_hours_utc=(earliest, latest))
    start_h = draw_calendar(spec, 3600.0, split, np.random.default_rng(seed)).start_h
    assert any(begin < start_h < end for begin, end in split_blocks(split))
    assert first <= start_h // 24 <= last
    assert earliest - 1e-9 <= start_h % 24 <= latest + 1e-9


def test_every_allowed_hour_is_equally_likely() -> None:
    """Days 15 to 22 hold six train days (three weeks end on day 20) and two of the validation week, of three hours."""
    spec, rng = CalendarSpec(first_day=15, last_day=22, start_hours_utc=(6, 9)), np.random.default_rng(1)
    start_h = np.array([draw_calendar(spec, 3600.0, "train", rng).start_h for _ in range(3000)])
    days = np.bincount((start_h // 24).astype(int), minlength=23)
    assert days[:15].sum() == days[21:].sum() == 0
    np.testing.assert_allclose(days[15:21], 500, atol=100)  # 5 standard deviations
    assert (start_h % 24).mean() == pytest.approx(7.5, abs=0.08)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"first_day": 200, "last_day": 100}, r"first_day \(200\) must not be after last_day \(100\)"),
        ({"first_day": 365}, "first_day: .*less than or equal to 364"),
        ({"start_hours_utc": [9, 9]}, "the earliest hour 9 must be before the latest 9"),
        ({"start_hours_utc": [9, 25]}, "start_hours_utc.*less than or equal to 24"),
    ],
)
def test_a_season_that_is_none_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CalendarSpec.parse(data)


def test_a_sped_up_calendar_passes_a_day_in_ten_minutes() -> None:
    calendar = draw_calendar(CalendarSpec(speedup=144), 600.0, "train", np.random.default_rng(0))
    hour = calendar.hour(np.array([0.0, 600.0]))
    assert hour[1] - hour[0] == pytest.approx(24.0)


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


def path_of(spec: RealTimePriceSpec, days: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Residual and what was expected of it an hour before, every five minutes."""
    time_s = np.arange(0.0, days * 86400.0, 300.0)
    residual = spec.draw(Calendar(start_h=1000.0, hours_per_s=1 / 3600), time_s, np.random.default_rng(seed))
    return residual.now, residual.expected(1.0)


def test_the_wandering_part_has_the_stated_spread_and_memory() -> None:
    now, _ = path_of(RealTimePriceSpec(sigma_usd_per_mwh=10, reversion_per_h=0.5, spikes_per_h=0), days=2000)
    assert now.std() == pytest.approx(10.0, rel=0.02)
    assert np.corrcoef(now[:-12], now[12:])[0, 1] == pytest.approx(np.exp(-0.5), abs=0.02)


def test_the_residual_has_mean_zero_although_spikes_only_rise() -> None:
    spec = RealTimePriceSpec()
    now, _ = path_of(spec, days=3000)
    assert now.mean() == pytest.approx(0.0, abs=0.4)
    assert now.min() > -spec.mean_spike_usd_per_mwh - 6 * spec.sigma_usd_per_mwh
    # Campbell's theorem: a shot noise of exponential jumps has variance rate * mean^2 / decay.
    spread = spec.sigma_usd_per_mwh**2 + spec.spikes_per_h * spec.spike_usd_per_mwh**2 / spec.spike_decay_per_h
    assert now.var() == pytest.approx(spread, rel=0.1)


def test_the_residual_holds_for_five_minutes_and_its_forecast_is_unbiased() -> None:
    time_s = np.arange(0.0, 3600.0, 1.0)
    residual = RealTimePriceSpec().draw(Calendar(1000.0, 1 / 3600), time_s, np.random.default_rng(1)).now
    assert len(np.unique(residual)) == 12
    now, expected = path_of(RealTimePriceSpec(), days=3000)
    assert (now[12:] - expected[:-12]).mean() == pytest.approx(0.0, abs=0.2)
    assert (now[12:] - expected[:-12]).std() < 0.8 * now.std()


def test_the_shipped_law_of_the_residual_is_the_fit() -> None:
    shipped = RealTimePriceSpec().model_dump(exclude_none=True)
    assert {name: pytest.approx(value, rel=0.02) for name, value in real_time_price.fit().items()} == shipped


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
    spec = ForecastSpec()
    for name in catalog_names("series"):
        for column, values in load_series(name).columns.items():
            change, day = np.roll(values, 24) - values, values > DAYTIME_W_PER_M2
            if column == "carbon_g_per_kwh":
                assert spec.carbon_error_fraction < change.std() / values.mean(), name
            if column == "dry_bulb_c":
                assert spec.outdoor_error_c < change.std(), name
            if column == "global_horizontal_w_m2":
                assert spec.solar_error_fraction < change[day].std() / values[day].mean(), name


def test_panels_give_their_rating_times_the_ratio_and_nothing_at_night() -> None:
    solar = SolarSpec.parse({"peak_w": 1e6, "irradiance_w_per_m2": {"series": "phoenix-weather"}})
    power_w = solar.power_w(signal_at(solar.irradiance_w_per_m2, HOURS + 0.5))
    night = load_series("phoenix-weather").at("global_horizontal_w_m2", HOURS + 0.5) == 0.0
    assert power_w[night].max() == 0.0
    # 2,150 kWh/m2 a year on the level: a ratio of 0.8 makes 1,722 full hours.
    assert power_w.sum() / 1e6 == pytest.approx(0.8 * 245.76 * 8760 / 1000, rel=0.01)
