"""Prices in time: peak hours, carbon, spikes that come together, and what is forecast of them and of demand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.episode.future import draw_future
from tokenfleet.envs.episode.joined_requests import Present
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.layers.power.regulation import RegulationSpec
from tokenfleet.envs.layers.power.series import Calendar, RealTimePriceSpec
from tokenfleet.envs.layers.power.series.real_time import SETTLEMENT_H, SharedJumps, SpikeHeatSpec, Surroundings
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes

HOURS_PER_S = 144.0 / 3600.0


def day(**changes: object) -> Scenario:
    """`default`, with a day in its ten minutes."""
    return load_scenario("default", {"calendar": {"speedup": 144}, "forecast_lead_s": [0.0, 50.0], **changes})


def seen(scenario: Scenario, episode: Episode) -> Record:
    return Record(Layout(EXOGENOUS, axis_sizes(scenario)), episode.exogenous)


def test_peak_hours_and_carbon_are_part_of_the_price_and_of_its_forecast():
    """36 USD/MWh, 363 g/kWh at 100 USD/t, and 40 USD/MWh in five hours of twenty-four: 125 s of 600 s."""
    peak = {"usd_per_mwh": 40.0, "from_hour": 16, "to_hour": 21, "utc_offset_h": -5}
    scenario = day(**{"sites.east.grid.tariff": {"carbon_usd_per_t": 100.0, "time_of_use": [peak]}})
    episode = sample_episode(scenario, 0)
    price = episode.price_usd_per_mwh[:, 0]
    assert sorted(set(price.round(6))) == [36.0 + 36.3, 36.0 + 36.3 + 40.0]
    assert np.sum(price > 100.0) in (125, 126)
    told = seen(scenario, episode)["price_forecast_usd_per_mwh"][:, 0, 1]
    away = np.abs(told[: len(price) - 50] - price[50:])  # carbon is forecast with an error
    assert np.median(away) < 5.0


LAW = RealTimePriceSpec(sigma_usd_per_mwh=0.0, spikes_per_h=0.5, shared_fraction=0.8)
COUNT = 200_000


def jumps(law: RealTimePriceSpec, seed: int, around: Surroundings | None) -> np.ndarray:
    return law._jumps(np.random.default_rng(seed), COUNT, around, 0)


def test_shared_jumps_come_together_and_leave_each_site_its_law():
    rare = LAW.model_copy(update={"spikes_per_h": 0.25, "spike_usd_per_mwh": 80.0})
    shared = SharedJumps.draw(LAW.shared_per_h, 0, COUNT, np.random.default_rng(7))
    one, other = jumps(LAW, 0, Surroundings(shared)), jumps(rare, 1, Surroundings(shared))
    assert np.mean(one > 0) == pytest.approx(0.5 * SETTLEMENT_H, rel=0.05)
    assert np.mean(other > 0) == pytest.approx(0.25 * SETTLEMENT_H, rel=0.05)
    assert other.mean() == pytest.approx(0.25 * SETTLEMENT_H * 80.0, rel=0.08)
    together = np.mean((one > 0) & (other > 0))
    assert together == pytest.approx(0.8 * 0.25 * SETTLEMENT_H, rel=0.1)  # all that the rarer site shares


def test_heat_makes_spikes_more_frequent():
    hot = LAW.model_copy(update={"shared_fraction": None, "heat": SpikeHeatSpec(from_c=30.0, rate_per_k=0.5)})
    rate = {c: np.mean(jumps(hot, 0, Surroundings(outdoor_c=lambda hour, c=c: c)) > 0) for c in (30.0, 34.0)}
    assert rate[34.0] == pytest.approx(3.0 * rate[30.0], rel=0.1)


def test_sites_that_share_spikes_are_dear_at_the_same_time():
    law = {"sigma_usd_per_mwh": 0.0, "spikes_per_h": 0.3}
    correlation = {}
    for shared in (None, 1.0):
        price = {f"sites.{site}.grid.real_time_price": {**law, "shared_fraction": shared} for site in ("east", "west")}
        paths = [sample_episode(day(**price), seed).price_usd_per_mwh for seed in range(12)]
        correlation[shared] = np.corrcoef(np.concatenate(paths).T)[0, 1]
    assert correlation[1.0] > 0.99
    assert abs(correlation[None]) < 0.5


def test_a_call_makes_the_price_jump_and_its_notice_the_forecast():
    quiet = {"sigma_usd_per_mwh": 0.0, "spikes_per_h": 0.0, "call_spike_usd_per_mwh": 200.0}
    scenario = day(**{"sites.east.grid.real_time_price": quiet})
    episode = sample_episode(scenario, 1)
    price = episode.price_usd_per_mwh[:, 0]
    assert episode.origin is not None
    (event,) = episode.origin.course.site_events[0]
    begins, announced = int(np.ceil(event.start_s)), int(np.ceil(event.start_s - event.notice_s))
    assert set(price[:begins]) == {36.0}
    assert price[begins] == pytest.approx(236.0, abs=10.0)
    told = seen(scenario, episode)["price_forecast_usd_per_mwh"][:, 0, 1]
    assert set(told[:announced]) == {36.0}
    np.testing.assert_allclose(told[announced : len(price) - 50], price[announced + 50 :], rtol=1e-5)


@pytest.mark.parametrize("law", [RealTimePriceSpec(spikes_per_h=0.5), RealTimePriceSpec(spikes_per_h=0.0)])
def test_the_spread_that_is_told_is_that_of_the_price_around_its_forecast(law: RealTimePriceSpec):
    calendar, time_s, rng = Calendar(100.0, 1.0 / 3600.0), np.array([0.0, 4 * 3600.0]), np.random.default_rng(0)
    paths = [law.draw(calendar, time_s, rng) for _ in range(3000)]
    later, told = np.array([(path.now[1], path.expected(4.0)[0]) for path in paths]).T
    errors = later - told
    assert np.mean(errors) == pytest.approx(0.0, abs=4.0 * np.std(errors) / np.sqrt(len(paths)))
    assert np.polyfit(told, errors, 1)[0] == pytest.approx(0.0, abs=0.2)  # dear or cheap now, right on average
    assert np.std(errors) == pytest.approx(law.deviation(4.0), rel=0.1)


def test_demand_is_forecast_with_an_error_that_grows_and_is_right_on_average():
    """Lognormal, 0.3 a day ahead, memory 12 h: 50 s are 2 h here, so 0.3 sqrt(1 - exp(-4 / 12)) = 0.160."""
    scenario = day(forecast={"demand": {"error_fraction": 0.3}})
    truth, told, spread = [], [], []
    for seed in range(20):
        fields = seen(scenario, sample_episode(scenario, seed))
        now, ahead = fields["demand_forecast_rps"][..., 0], fields["demand_forecast_rps"][..., 1]
        truth.append(now[50:, 1]), told.append(ahead[:-50, 1]), spread.append(fields["demand_spread_rps"][:-50, 1, 1])
        assert not fields["demand_spread_rps"][..., 0].any()
    ratio = np.concatenate(told) / np.maximum(np.concatenate(truth), 0.1)
    assert np.mean(np.concatenate(truth)) == pytest.approx(scenario.mean_rate_rps("chat-70b"), rel=0.15)
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.1)
    assert np.std(ratio) == pytest.approx(np.sqrt(np.expm1(0.160**2)), rel=0.35)
    np.testing.assert_allclose(np.concatenate(spread) / np.concatenate(told), np.sqrt(np.expm1(0.160**2)), rtol=0.01)


def test_no_future_tells_how_wrong_the_forecasts_of_demand_are():
    """A forecast over the arrivals that it speaks of is its error: with the true one, arrivals would be known ahead."""
    scenario, tick, lead = load_scenario("priced-power", {"horizon_ticks": 120}), 30, 60
    episode = sample_episode(scenario, 0)
    nothing = np.zeros(len(episode.requests), np.bool_)
    asked = episode.requests.arrival_s < tick
    now = Present(tick, asked, nothing, np.full(len(nothing), np.nan), np.empty(0, np.int32))
    errors = []
    for one in (episode, *(draw_future(episode, now, seed).episode for seed in range(2))):
        told = seen(scenario, one)["demand_forecast_rps"][:, 1]
        errors.append(told[tick + 1 : -lead, 2] / told[tick + 1 + lead :, 0])  # one with a lead of 0 does not err
    for first, second in combinations(errors, 2):
        assert np.abs(first / second - 1.0).max() > 0.01


def test_no_future_tells_how_far_beyond_its_bound_the_signal_of_regulation_stands():
    scenario, tick = load_scenario("priced-power", {"horizon_ticks": 120}), 30
    episode = sample_episode(scenario, 0)
    assert episode.origin is not None
    course = episode.origin.course
    later = []
    for far in (1.01, 3.0):  # both are sent as 1
        path = np.where(np.arange(121) == tick, far, course.regulation[0])
        known = replace(course, regulation=(path,))
        told = np.random.default_rng(0)
        drawn = [known.go_on(tick, np.random.default_rng(seed), told).regulation[0] for seed in range(3)]
        assert all(signal[tick] > 1.0 for signal in drawn)
        later.append([signal[tick:] for signal in drawn])
    np.testing.assert_array_equal(*later)


def test_values_beyond_the_cut_are_as_frequent_as_in_the_signal():
    spec, rng = RegulationSpec(capacity_fraction=0.1, sigma=0.5), np.random.default_rng(0)
    drawn = np.array([spec.beyond_the_cut(-1.2, rng) for _ in range(5_000)])
    free = 0.5 * rng.standard_normal(400_000)
    beyond = free[free < -1.0]
    assert drawn.max() < -1.0
    assert drawn.mean() == pytest.approx(beyond.mean(), rel=0.01)
    assert spec.beyond_the_cut(0.7, rng) == 0.7


def test_the_signal_of_regulation_wanders_around_zero_within_its_bounds():
    spec = RegulationSpec(capacity_fraction=0.1, sigma=0.4, return_s=30.0)
    path = spec.draw(200_000, 2.0, np.random.default_rng(0))
    assert path.mean() == pytest.approx(0.0, abs=0.02)
    assert path.std() == pytest.approx(0.4, rel=0.05)
    assert np.mean(path[:-15] * path[15:]) / path.var() == pytest.approx(np.exp(-1.0), abs=0.05)
    episode = sample_episode(load_scenario("priced-power"), 0)
    assert episode.regulation_signal.shape == (240, 1)
    assert np.abs(episode.regulation_signal).max() <= 1.0


def test_a_signal_of_regulation_beyond_its_bounds_is_cut_to_them():
    wild = {"sites.west.grid.regulation.sigma": 5.0}
    signal = sample_episode(load_scenario("priced-power", wild), 0).regulation_signal
    assert (signal.min(), signal.max()) == (-1.0, 1.0)
