"""Chances of cap events are right as often as they say, in episodes, in their futures, and in what a policy sees."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from tests.episode.futures import undisturbed
from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.episode.future import draw_future
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_names, axis_sizes
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv

LEADS_S = [0.0, 10.0, 40.0]
OUTAGE = {"probability": 0.6, "earliest_start_s": 10.0, "latest_start_s": 90.0, "hold_s": 20.0, "recovery_s": 4.0}
CALL = {"notice_s": 5.0, "earliest_start_s": 20.0, "latest_start_s": 80.0, "hold_s": 15.0, "ramp_s": 3.0}
EVENTS = {
    "sites.lab.grid.emergencies": [OUTAGE],
    "sites.lab.grid.demand_response": [CALL],
    "sites.lab.facility.rows": {"ups": {"cap_fraction": 0.9, "whole_site": True, "emergencies": [OUTAGE, OUTAGE]}},
}


def scenario_of(**forecast: float) -> Scenario:
    """`tiny` for 120 s, with a call and an outage on its connection, and two outages on a row."""
    keys: dict[str, Any] = {"horizon_ticks": 120, **EVENTS}
    if forecast:
        keys |= {"forecast_lead_s": LEADS_S, "forecast.events": forecast}
    return load_scenario("tiny", keys)


SKILLED = {"noise": 0.7, "start_error_s": 12.0}


def told(scenario: Scenario, episode: Episode) -> np.ndarray:
    """Chances before every tick and after the last, `[H + 1, Z, F]`."""
    return Record(Layout(EXOGENOUS, axis_sizes(scenario)), episode.exogenous)["event_chance"]


def in_force(episode: Episode, time_s: np.ndarray) -> np.ndarray:
    """Whether an event of the site, and of its row, is in force at times of any shape, `[..., 2]`."""
    assert episode.origin is not None
    course = episode.origin.course
    limits = (*course.site_events, *course.row_events)
    return np.stack([np.any([event.is_in_force(time_s) for event in events], axis=0) for events in limits], axis=-1)


@pytest.mark.parametrize(
    "forecast", [SKILLED, {"noise": 0.2, "start_error_s": 3.0}, {"noise": 5.0, "start_error_s": 1e3}]
)
def test_what_is_told_a_chance_comes_as_often_as_told(forecast):
    """One time, lead and limit of each of 1500 episodes: by classes of chance, within four standard deviations."""
    scenario, rng, count = scenario_of(**forecast), np.random.default_rng(0), 1500
    chance, came = np.empty(count), np.empty(count)
    for seed in range(count):
        episode = sample_episode(scenario, seed)
        tick, limit, lead = rng.integers(100), rng.integers(2), rng.integers(1, 3)
        chance[seed] = told(scenario, episode)[tick, limit, lead]
        came[seed] = in_force(episode, np.array(tick + LEADS_S[lead]))[limit]
    assert np.all(came[chance == 1.0] == 1.0)
    assert np.all(came[chance == 0.0] == 0.0)
    open_ones = (chance > 0.0) & (chance < 1.0)
    for low, high in [(0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)]:
        here = open_ones & (chance > low) & (chance <= high)
        if here.sum() >= 20:
            expected, deviation = chance[here].sum(), np.sqrt((chance[here] * (1.0 - chance[here])).sum())
            assert abs(came[here].sum() - expected) < 4.0 * deviation, (low, high, here.sum())


def test_a_better_forecaster_has_a_smaller_brier_score_and_each_beats_the_law():
    """Mean squared error 40 s ahead, over the row's two outages of 100 episodes."""
    scores = []
    for forecast in ({"noise": 0.1, "start_error_s": 2.0}, SKILLED, {"noise": 1e6, "start_error_s": 1e6}):
        scenario = scenario_of(**forecast)
        errors = []
        for seed in range(100):
            episode = sample_episode(scenario, seed)
            now_s = np.arange(len(episode.exogenous))
            errors.append(told(scenario, episode)[:, 1, 2] - in_force(episode, now_s + 40.0)[:, 1])
        scores.append(float(np.mean(np.square(errors))))
    assert scores[0] < 0.5 * scores[1]
    assert scores[1] < 0.8 * scores[2]


def test_now_is_told_without_error():
    scenario = scenario_of(**SKILLED)
    for seed in range(5):
        episode = sample_episode(scenario, seed)
        now_s = np.arange(len(episode.exogenous), dtype=np.float64)
        np.testing.assert_array_equal(told(scenario, episode)[:, :, 0], in_force(episode, now_s))


def test_nothing_else_of_an_episode_changes_where_events_are_forecast():
    with_it, without = scenario_of(**SKILLED), load_scenario(scenario_of(), {"forecast_lead_s": LEADS_S})
    for seed in range(3):
        mine, plain = sample_episode(with_it, seed), sample_episode(without, seed)
        for field in fields(Episode):
            if isinstance(values := getattr(plain, field.name), np.ndarray) and field.name != "exogenous":
                np.testing.assert_array_equal(getattr(mine, field.name), values)
        for part in ("requests", "failures", "contexts"):
            for column, values in vars(getattr(plain, part)).items():
                np.testing.assert_array_equal(getattr(getattr(mine, part), column), values)
        seen, seen_without = (
            Record(Layout(EXOGENOUS, axis_sizes(scenario)), episode.exogenous)
            for scenario, episode in ((with_it, mine), (without, plain))
        )
        for exogenous in EXOGENOUS:
            if exogenous.name != "event_chance":
                np.testing.assert_array_equal(seen[exogenous.name], seen_without[exogenous.name])
        assert seen_without["event_chance"].size == 0


def test_as_many_futures_have_the_event_as_is_told():
    """300 futures from second 30 of four episodes: the share in force 40 s later, within four standard deviations."""
    scenario, tick, count = scenario_of(**SKILLED), 30, 300
    for seed in (0, 3, 5, 8):
        episode = sample_episode(scenario, seed)
        now = undisturbed(scenario, episode, tick)
        assert episode.origin is not None
        courses = [
            episode.origin.course.go_on(tick, np.random.default_rng(future), np.random.default_rng(0))
            for future in range(count)
        ]
        limits = ((*course.site_events, *course.row_events) for course in courses)
        then_s = np.array(tick + 40.0)
        came = [[any(event.is_in_force(then_s) for event in events) for events in limit] for limit in limits]
        chance = told(scenario, episode)[tick, :, 2].astype(np.float64)
        deviation = np.sqrt(chance * (1.0 - chance) / count)
        assert np.all(np.abs(np.mean(came, axis=0) - chance) <= 4.0 * deviation + 1e-6), seed
        future = draw_future(episode, now, 1).episode
        np.testing.assert_array_equal(future.exogenous[: tick + 1], episode.exogenous[: tick + 1])


def test_signs_stay_in_every_future_and_in_a_future_of_a_future():
    scenario, tick = scenario_of(**SKILLED), 5  # before anything is known
    episode = sample_episode(scenario, 1)
    first = draw_future(episode, undisturbed(scenario, episode, tick), 3).episode
    second = draw_future(first, undisturbed(scenario, first, tick + 2), 4).episode
    origins = [one.origin for one in (episode, first, second)]
    courses = [origin.course for origin in origins if origin is not None]
    assert len({course.site_outlooks for course in courses}) == 1
    assert len({course.row_outlooks for course in courses}) == 1
    assert len({course.site_events for course in courses}) == 3


def test_sites_and_rows_with_events_are_told_of_one_entry_for_each_lead():
    scenario = scenario_of(**SKILLED)
    assert axis_names(scenario)["Z"] == ("lab", "lab ups")
    assert axis_sizes(scenario_of())["Z"] == 0
    width = FleetEnv(scenario).observation_space.shape[0] - FleetEnv(scenario_of()).observation_space.shape[0]
    forecasts_of_the_site = 4 * len(LEADS_S)
    assert width == forecasts_of_the_site + 2 * len(LEADS_S)


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_a_policy_sees_the_chances_in_both_engines(engine):
    scenario = scenario_of(**SKILLED)
    env = FleetVectorEnv(scenario, 1, engine=engine)
    seen = [env.reset(seed=4)[0], *(env.step(env.action_space.sample())[0] for _ in range(60))]
    (episode,) = env.episodes
    assert episode is not None
    place = env.observation_model.layout.slice("event_chance")
    np.testing.assert_array_equal(np.array(seen)[:, 0, place], told(scenario, episode)[:61].reshape(61, -1))


def test_events_are_not_forecast_where_there_are_none():
    with pytest.raises(SpecError, match=r"forecast\.events: no site or row has an event; give one demand_response"):
        load_scenario("tiny", {"sites.lab.grid.demand_response": [], "forecast_lead_s": LEADS_S, "forecast.events": {}})


@pytest.mark.parametrize(("key", "value"), [("noise", -0.1), ("start_error_s", -1.0), ("start_error_s", 1e10)])
def test_an_error_that_none_can_make_is_refused(key, value):
    with pytest.raises(SpecError, match=rf"forecast\.events\.{key}: .*than or equal to"):
        scenario_of(**{key: value})
