"""Signals of an episode: prices, carbon, weather and sun at one hour of the year, within a split, and forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.catalog import load_series
from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.episode.signals import draw_signals
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.interface.observation import FleetObservation
from tokenfleet.envs.layers.power import GridSpec
from tokenfleet.envs.layers.power.series import Split, split_blocks
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.spec import SpecError

DAY_IN_TEN_MINUTES = 144.0
SITE = {
    "east": ("pjm-2023-price", "pjm-2022-carbon", "leesburg-va-weather"),
    "west": ("caiso-2023-price", "caiso-2022-carbon", "san-jose-weather"),
}
LEADS_S = [0.0, 25.0, 150.0]  # now, an hour and six hours ahead at that speed


def recorded_scenario(folders: Sequence[Path] = (), **changes: object) -> Scenario:
    """The default scenario on recorded years."""
    overrides: dict[str, object] = {"calendar.speedup": DAY_IN_TEN_MINUTES, "forecast_lead_s": LEADS_S}
    for site, (price, carbon, weather) in SITE.items():
        overrides |= {
            f"sites.{site}.grid.price_usd_per_mwh": {"series": price},
            f"sites.{site}.grid.carbon_g_per_kwh": {"series": carbon},
            f"sites.{site}.facility.outdoor_c": {"series": weather},
            f"sites.{site}.solar": {"peak_w": 5000.0, "irradiance_w_per_m2": {"series": weather}},
        }
    return load_scenario("default", {**overrides, **changes}, folders)


def exogenous(scenario: Scenario, episode: Episode) -> Record:
    return Record(Layout(EXOGENOUS, axis_sizes(scenario)), episode.exogenous)


@pytest.fixture(scope="module")
def ruler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `ruler`, a series whose every value is the hour at which it stands: a price that tells the time."""
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "series").mkdir()
    columns = "columns:\n  price_usd_per_mwh: {meaning: the hour, first_h: 0}\n"
    (folder / "series" / "ruler.yaml").write_text(f"file: ruler.csv\n{columns}")
    (folder / "series" / "ruler.csv").write_text("\n".join(["price_usd_per_mwh", *map(str, range(8760))]))
    return folder


def test_all_sites_and_signals_stand_at_one_hour_of_the_year() -> None:
    scenario = recorded_scenario()
    episode = sample_episode(scenario, 5)
    steps = (DAY_IN_TEN_MINUTES / 3600.0) * np.arange(scenario.horizon_ticks)
    fits = []
    for site, (price, carbon, weather) in enumerate(SITE.values()):
        for name, column, values in (
            (price, "price_usd_per_mwh", episode.price_usd_per_mwh[:, site]),
            (carbon, "carbon_g_per_kwh", episode.carbon_g_per_kwh[:, site]),
            (weather, "dry_bulb_c", episode.outdoor_c[:, site]),
        ):
            starts = np.arange(0.0, 8760.0, 0.25)
            recorded = load_series(name).at(column, starts[:, None] + steps[None, ::60])
            error = np.abs(recorded - values[None, ::60]).mean(axis=1)
            fits.append(float(starts[int(error.argmin())]))
    assert np.ptp(fits) <= 0.5


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_episode_and_its_forecasts_stay_inside_the_weeks_of_its_split(ruler: Path, split: Split) -> None:
    prices = {f"sites.{site}.grid.price_usd_per_mwh": {"series": "ruler"} for site in SITE}
    scenario = recorded_scenario([ruler], **prices)
    for seed in range(200):
        episode = sample_episode(scenario, seed, split)
        hours = [episode.price_usd_per_mwh, exogenous(scenario, episode)["price_forecast_usd_per_mwh"]]
        first, last = min(part.min() for part in hours), max(part.max() for part in hours)
        assert any(begin <= first < last < end for begin, end in split_blocks(split))
        np.testing.assert_array_equal(*episode.price_usd_per_mwh.T)  # both sites stand at one hour


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_the_same_seed_draws_the_same_signals(seed: int) -> None:
    scenario = recorded_scenario(**{"sites.east.grid.real_time_price": {}})
    first, again, other = (sample_episode(scenario, s) for s in (seed, seed, seed + 1))
    for name in ("price_usd_per_mwh", "carbon_g_per_kwh", "outdoor_c", "solar_w", "exogenous"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.price_usd_per_mwh, other.price_usd_per_mwh)


def test_constants_draw_nothing_and_stay_what_they_are() -> None:
    scenario = load_scenario("default")
    rng = np.random.default_rng(0)
    signals = draw_signals(scenario, "train", rng).signals()
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert np.unique(signals.price_usd_per_mwh[:, 0]).tolist() == [36.0]
    assert np.unique(signals.carbon_g_per_kwh[:, 1]).tolist() == [256.0]
    assert not signals.solar_w.any()
    assert signals.price_forecast_usd_per_mwh.shape == (601, 2, 0)


def test_the_default_observation_needs_no_forecast() -> None:
    layout = FleetObservation(load_scenario("default")).layout
    forecasts = [field.name for field in EXOGENOUS if "F" in field.axis]
    assert len(forecasts) == 8
    assert all(layout.slice(name).start == layout.slice(name).stop for name in forecasts)


def test_a_forecast_of_now_is_the_truth() -> None:
    scenario = recorded_scenario(**{"sites.east.grid.real_time_price": {}})
    episode = sample_episode(scenario, 3)
    seen = exogenous(scenario, episode)
    for field, truth in (
        ("price_forecast_usd_per_mwh", episode.price_usd_per_mwh),
        ("carbon_forecast_g_per_kwh", episode.carbon_g_per_kwh),
        ("outdoor_forecast_c", episode.outdoor_c),
        ("solar_forecast_w", episode.solar_w),
    ):
        np.testing.assert_allclose(seen[field][:-1, :, 0], truth, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(seen["price_usd_per_mwh"][:-1], episode.price_usd_per_mwh, rtol=1e-6)


@pytest.mark.parametrize(("field", "truth"), [
    ("carbon_forecast_g_per_kwh", "carbon_g_per_kwh"),
    ("outdoor_forecast_c", "outdoor_c"),
    ("solar_forecast_w", "solar_w"),
    ("price_forecast_usd_per_mwh", "price_usd_per_mwh"),
])  # fmt: skip
def test_forecasts_err_more_the_further_they_look(field: str, truth: str) -> None:
    scenario = recorded_scenario(**{f"sites.{site}.grid.real_time_price": {} for site in SITE})
    squares = np.zeros(len(LEADS_S))
    for seed in range(60):
        episode = sample_episode(scenario, seed)
        seen, happened = exogenous(scenario, episode)[field], getattr(episode, truth)
        for lead, lead_s in enumerate(LEADS_S):
            ahead = int(lead_s)
            squares[lead] += np.mean((seen[: len(happened) - ahead, :, lead] - happened[ahead:]) ** 2)
    assert squares[0] < 1e-6 * squares[2]
    assert 0.0 < squares[1] < squares[2]


def test_a_day_ahead_price_is_known_without_error() -> None:
    scenario = recorded_scenario()
    episode = sample_episode(scenario, 1)
    ahead = int(LEADS_S[2])
    seen = exogenous(scenario, episode)["price_forecast_usd_per_mwh"]
    np.testing.assert_allclose(seen[:-1][:-ahead, :, 2], episode.price_usd_per_mwh[ahead:], rtol=1e-5, atol=1e-4)


def test_no_sun_at_night_and_none_is_forecast() -> None:
    scenario = recorded_scenario()
    for seed in range(10):
        episode = sample_episode(scenario, seed)
        seen = exogenous(scenario, episode)["solar_forecast_w"]
        dark = episode.solar_w == 0.0
        assert dark.any()
        assert not seen[:-1, :, 0][dark].any()
        ahead = int(LEADS_S[1])
        assert not seen[:-1][:-ahead, :, 1][dark[ahead:]].any()


def test_the_real_time_price_wanders_around_the_day_ahead_price() -> None:
    plain = load_scenario("default", {"sites.east.grid.real_time_price": {}})
    means = [sample_episode(plain, seed).price_usd_per_mwh[:, 0].mean() - 36.0 for seed in range(600)]
    assert np.mean(means) == pytest.approx(0.0, abs=3 * np.std(means) / np.sqrt(600))
    assert np.std(means) > 5.0
    assert np.unique(sample_episode(plain, 0).price_usd_per_mwh[:, 1]).tolist() == [62.0]


def test_a_negative_price_and_frost_are_seen_as_such() -> None:
    scenario = load_scenario(
        "tiny",
        {"sites.lab.grid.price_usd_per_mwh": -40.0, "sites.lab.facility.outdoor_c": -10.0, "forecast_lead_s": [0]},
    )
    observation = FleetObservation(scenario)
    episode = sample_episode(scenario, 0)
    view = Record(Layout(observation.layout.fields, axis_sizes(scenario)), np.zeros((1, observation.layout.width)))
    begin = view.layout.offsets["cap_w"]
    view.rows[0, begin:] = episode.exogenous[0]
    decoded = observation.decode(observation.observe(view))
    assert decoded["price_usd_per_mwh"][0].tolist() == pytest.approx([-40.0])
    assert decoded["outdoor_forecast_c"][0].ravel().tolist() == pytest.approx([-10.0])
    assert observation.space.contains(observation.observe(view)[0])


def test_a_window_longer_than_a_splits_weeks_is_refused() -> None:
    with pytest.raises(SpecError, match=r"calendar.speedup: .* span 240 h .* hold 166 h .*lower speedup.*got 1440"):
        recorded_scenario(**{"calendar.speedup": 1440, "forecast_lead_s": []})
    assert load_scenario("default", {"calendar.speedup": 1440}).calendar.speedup == 1440  # nothing varies


def test_a_season_without_a_week_of_every_split_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no validation week .*widen first_day to last_day \(got 0 to 10\)"):
        recorded_scenario(**{"calendar.first_day": 0, "calendar.last_day": 10})


def test_a_scenario_with_signals_survives_its_own_dump() -> None:
    scenario = recorded_scenario(
        **{"sites.west.facility.outdoor_c": {"kind": "diurnal", "mean": 20, "daily_amplitude": 5}}
    )
    assert load_scenario(scenario.model_dump(mode="json")) == scenario
    np.testing.assert_array_equal(
        sample_episode(load_scenario(scenario.model_dump(mode="json")), 2).exogenous,
        sample_episode(scenario, 2).exogenous,
    )


def test_the_price_of_a_site_follows_the_scale_of_a_series() -> None:
    """A site whose prices are three times another's pays three times as much in every tick."""
    grid = GridSpec.parse({"cap_w": 1, "price_usd_per_mwh": {"series": "caiso-2023-price", "scale": 3}})
    scenario = recorded_scenario(**{"sites.west.grid.price_usd_per_mwh": grid.model_dump()["price_usd_per_mwh"]})
    thrice, once = sample_episode(scenario, 4), sample_episode(recorded_scenario(), 4)
    np.testing.assert_allclose(thrice.price_usd_per_mwh[:, 1], 3 * once.price_usd_per_mwh[:, 1])
