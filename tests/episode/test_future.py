"""Another future keeps what is known, draws all else as a new episode would, and tells nothing of the true one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.episode.futures import fleet_at, played, undisturbed
from tokenfleet.envs.engine import present_of
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.episode.future import Future, draw_future
from tokenfleet.envs.episode.joined_requests import Present, join_requests
from tokenfleet.envs.layers.agents.diurnal import DiurnalStream
from tokenfleet.envs.layers.agents.streams import STREAM_KINDS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable

TICK = 60
SHORT = {"horizon_ticks": 120}
SCENARIOS: dict[str, dict[str, Any]] = {
    "tiny": SHORT,
    "agent-swarm": {"horizon_ticks": 120, "workload.agents.rate_sessions_per_s": 0.04},
    "budget-squeeze": SHORT,
    "follow-the-sun": SHORT,
    "failure-storm": {"horizon_ticks": 120, "workload.chat-8b.rate_rps": 60.0},
    "demand-response-day": SHORT,
    "priced-power": SHORT,
}


def test_a_column_of_one_number_is_kept_even_where_it_is_not_the_default() -> None:
    same = {"class_id": 1, "region_id": 1, "price_tolerance": 2.0, "group_id": 3, "group_tokens": 4}
    old, fresh = (RequestTable.of([at_s, at_s + 0.5], [5, 5], [2, 2], **same) for at_s in (0.0, 3.5))
    asked, lost = np.ones(2, np.bool_), np.zeros(2, np.bool_)
    now = Present(3, asked, lost, np.array([0.5, np.nan]), np.empty(0, np.int32))
    episode = replace(sample_episode(load_scenario("tiny", SHORT), 0), requests=old)
    table, _ = join_requests(episode, now, fresh, (3.0, 20.0), np.random.default_rng(0))
    assert {name: getattr(table, name).tolist() for name in same} == {name: [value] * 4 for name, value in same.items()}


def to_come(future: Future) -> np.ndarray:
    """Rows of the requests that were drawn anew."""
    fresh = np.ones(len(future.episode.requests), np.bool_)
    fresh[future.row[future.row >= 0]] = False
    return np.flatnonzero(fresh)


@pytest.mark.parametrize("name", SCENARIOS)
def test_whoever_lives_another_future_from_its_start_comes_to_the_same_present(name: str) -> None:
    scenario = load_scenario(name, SCENARIOS[name])
    fleet, episode = fleet_at(scenario, TICK)
    future = draw_future(episode, present_of(fleet, 0, TICK), 7)
    again = played(fleet.arrays, future.episode, TICK)
    np.testing.assert_array_equal(again.view.rows, fleet.view.rows)
    np.testing.assert_array_equal(again.outcome.rows, fleet.outcome.rows)
    fleet.change_future(0, future)
    for _ in range(40):
        for engine in (fleet, again):
            engine.step(Controls.neutral(1, engine.arrays.route_mask.astype(float)))
        np.testing.assert_array_equal(again.view.rows, fleet.view.rows)
        np.testing.assert_array_equal(again.outcome.rows, fleet.outcome.rows)


@pytest.mark.parametrize("name", SCENARIOS)
def test_one_seed_is_one_future_and_two_differ_only_after_now(name: str) -> None:
    scenario = load_scenario(name, SCENARIOS[name])
    fleet, episode = fleet_at(scenario, TICK)
    now = present_of(fleet, 0, TICK)
    first, twin, second = (draw_future(episode, now, seed) for seed in (1, 1, 2))
    for field in ("exogenous", "cap_w", "price_usd_per_mwh", "outdoor_c", "pue"):
        values = [getattr(future.episode, field) for future in (first, twin, second)]
        np.testing.assert_array_equal(values[0], values[1])
        np.testing.assert_array_equal(values[0][: TICK + 1], values[2][: TICK + 1])
        np.testing.assert_array_equal(values[0][: TICK + 1], getattr(episode, field)[: TICK + 1])
    for column, values in vars(first.episode.requests).items():
        np.testing.assert_array_equal(values, getattr(twin.episode.requests, column))
    made = np.flatnonzero(now.asked)
    for column in ("prompt_tokens", "output_tokens", "class_id", "region_id"):
        mine = getattr(first.episode.requests, column)[first.row[made]]
        np.testing.assert_array_equal(mine, getattr(episode.requests, column)[made])
    others = (
        first.episode.requests.prompt_tokens[to_come(first)],
        second.episode.requests.prompt_tokens[to_come(second)],
    )
    assert not np.array_equal(*others)
    arrivals = [future.episode.requests.arrival_s[to_come(future)] for future in (first, second)]
    assert min(times.min() for times in arrivals) >= TICK * scenario.tick_s


def offered_tokens(scenario: Scenario, episode: Episode, now: Present, futures: int) -> np.ndarray:
    """Tokens that are asked for from now on in each of some futures, by class `[F, K]`."""
    sums = np.zeros((futures, len(scenario.classes)))
    for seed in range(futures):
        future = draw_future(episode, now, seed)
        requests, rows = future.episode.requests, to_come(future)
        tokens = (requests.prompt_tokens + requests.output_tokens)[rows]
        np.add.at(sums[seed], requests.class_id[rows], tokens)
    return sums


@pytest.mark.parametrize("name", ["tiny", "retry-storm"])
def test_futures_offer_what_the_streams_do_on_average(name: str) -> None:
    scenario = load_scenario(name, {"horizon_ticks": 120})
    fleet, episode = fleet_at(scenario, TICK)
    sums = offered_tokens(scenario, episode, present_of(fleet, 0, TICK), 200)
    names, wanted = list(scenario.classes), np.zeros(len(scenario.classes))
    for stream in scenario.workload.values():
        tokens = stream.mean_prompt_tokens + stream.mean_output_tokens
        wanted[names.index(stream.request_class)] += stream.mean_rate_rps * tokens * (120 - TICK) * scenario.tick_s
    off = (sums.mean(axis=0) - wanted) / (sums.std(axis=0) / np.sqrt(len(sums)))
    assert np.abs(off).max() < 4.0


def test_futures_of_a_stream_with_hours_keep_the_hour() -> None:
    inner = {"kind": "poisson", "request_class": "chat", "rate_rps": 20.0}
    inner |= {length: {"median_tokens": 100, "sigma": 0.1} for length in ("prompt", "output")}
    day = {"kind": "diurnal", "stream": inner, "time_compression": 288.0}
    base = load_scenario("tiny").model_dump(mode="json", exclude_unset=True)
    chat = next(iter(base["classes"]))
    inner["request_class"] = chat
    scenario = load_scenario({**base, "workload": {"day": day}, "horizon_ticks": 300})
    stream = scenario.workload["day"]
    assert isinstance(stream, DiurnalStream)
    for seed in range(4):
        fleet, episode = fleet_at(scenario, 150, seed)
        start_s = stream._start_s(np.random.default_rng([seed, 0]))
        time_s, operational_s = stream._clock(start_s, scenario.horizon_s)
        done, end = np.interp([150 * scenario.tick_s, scenario.horizon_s], time_s, operational_s)
        now = present_of(fleet, 0, 150)
        counts = [len(to_come(draw_future(episode, now, future))) for future in range(30)]
        wanted = stream.mean_rate_rps * (end - done)
        assert abs(np.mean(counts) - wanted) < 4.0 * np.sqrt(wanted / len(counts))


def test_announced_events_stay_and_others_are_as_likely_as_they_are() -> None:
    emergency = {"earliest_start_s": 0.0, "latest_start_s": 120.0, "hold_s": 10.0, "probability": 0.5}
    response = {"earliest_start_s": 80.0, "latest_start_s": 90.0, "hold_s": 10.0, "notice_s": 60.0}
    site = next(iter(load_scenario("tiny").sites))
    scenario = load_scenario(
        "tiny",
        {
            "horizon_ticks": 120,
            f"sites.{site}.grid.emergencies": [emergency],
            f"sites.{site}.grid.demand_response": [response],
        },
    )
    episode = next(
        episode
        for episode in (sample_episode(scenario, seed) for seed in range(50))
        if (episode.rating_w == episode.rating_w[0]).all()  # no emergency comes
    )
    now = present_of(played(FleetArrays.from_scenario(scenario), episode, 60), 0, 60)
    futures = [draw_future(episode, now, seed).episode for seed in range(300)]
    comes = np.array([(future.rating_w < future.rating_w[0]).any() for future in futures])
    # Nothing has come in the first half: 0.25 against 0.5 that nothing comes at all.
    assert abs(comes.mean() - 1.0 / 3.0) < 4.0 * np.sqrt(2.0 / 9.0 / len(futures))
    calm = [future for future, called in zip(futures, comes, strict=True) if not called]
    assert all(np.array_equal(future.cap_w, episode.cap_w) for future in calm)


def test_a_market_wanders_on_from_its_price_and_forecasts_hold_on_average() -> None:
    scenario = load_scenario(
        "follow-the-sun",
        {"horizon_ticks": 200, "calendar.speedup": 144.0, "forecast_lead_s": [38.0, 150.0]},
    )
    episode, tick = sample_episode(scenario, 3), 40
    now = undisturbed(scenario, episode, tick)
    futures = [draw_future(episode, now, seed).episode for seed in range(200)]
    assert episode.origin is not None
    signals = episode.origin.course.signals.signals()
    lead = len(scenario.forecast_lead_s) - 1
    later = tick + round(scenario.forecast_lead_s[lead] / scenario.tick_s)
    told = signals.carbon_forecast_g_per_kwh[tick, :, lead]
    carbon = np.array([future.carbon_g_per_kwh[later] for future in futures])
    np.testing.assert_allclose(carbon.mean(axis=0), told, atol=4.0 * carbon.std(axis=0).max() / np.sqrt(len(futures)))
    assert (carbon.std(axis=0) > 0.0).all()
    price = np.array([future.price_usd_per_mwh[later] for future in futures])
    expected = signals.price_forecast_usd_per_mwh[tick, :, lead]
    np.testing.assert_allclose(
        price.mean(axis=0), expected, atol=4.0 * price.std(axis=0).max() / np.sqrt(len(futures)) + 1e-9
    )


def test_failures_to_come_are_drawn_anew() -> None:
    scenario = load_scenario("failure-storm", {"horizon_ticks": 120, "workload.chat-8b.rate_rps": 1.0})
    episode = sample_episode(scenario, 0)
    now = undisturbed(scenario, episode, TICK)
    counts, whole = [], [len(sample_episode(scenario, seed).failures.tick) for seed in range(100)]
    for seed in range(100):
        failures = draw_future(episode, now, seed).episode.failures
        old = episode.failures.tick < TICK
        np.testing.assert_array_equal(failures.tick[: old.sum()], episode.failures.tick[old])
        assert (np.diff(failures.tick) >= 0).all()
        counts.append(len(failures.tick) - int(old.sum()))
    spread = np.std(whole) / 10.0
    assert abs(np.mean(counts) - np.mean(whole) * (120 - TICK) / 120) < 4.0 * spread


def test_thinking_clients_go_on_without_adding_calls() -> None:
    scenario = load_scenario("agent-swarm", SCENARIOS["agent-swarm"])
    late = 90
    fleet, episode = fleet_at(scenario, late)
    now = present_of(fleet, 0, late)
    assert len(now.thinking) > 1
    alone = Present(late, now.asked, now.lost, now.finished_s, np.empty(0, np.int32))
    with_them, without = draw_future(episode, now, 5), draw_future(episode, alone, 5)
    sums = []
    for future in (with_them, without):
        requests = future.episode.requests
        comes = requests.wait_s < scenario.horizon_s
        comes[future.row[now.asked]] = False
        comes &= ~((requests.predecessors == 0) & (requests.arrival_s >= scenario.horizon_s))
        sums.append(int(requests.prompt_tokens[comes].sum(dtype=np.int64)))
    assert sums[0] == sums[1]


def test_an_episode_that_nobody_drew_has_no_other_future() -> None:
    scenario = load_scenario("tiny")
    episode = sample_episode(scenario, 0)
    with pytest.raises(SpecError, match="future: an episode that was not drawn from a scenario"):
        draw_future(replace(episode, origin=None), undisturbed(scenario, episode, 0), 0)


@pytest.mark.parametrize(
    ("keys", "begins_at_s"),
    [
        ({"kind": "servegen", "time_compression": 4.0}, lambda stream: stream._start_s),
        (
            {"kind": "fitted", "demand": "azure-chat", "time_compression": 4.0},
            lambda stream: stream.start_hour * 3600.0,
        ),
    ],
)
def test_the_clock_of_a_stream_that_goes_on_has_gone_on(keys: dict[str, Any], begins_at_s: Any) -> None:
    stream = STREAM_KINDS[keys["kind"]].parse({"request_class": "chat", **keys})
    start, later = (stream.going_on(np.random.default_rng(5), begin_s, 300.0, "train") for begin_s in (0.0, 100.0))
    assert begins_at_s(later) - begins_at_s(start) == pytest.approx(400.0)
    again = later.going_on(np.random.default_rng(6), 50.0, 300.0, "train")
    assert begins_at_s(again) - begins_at_s(later) == pytest.approx(200.0)
    drawn, kept = (
        stream.sample(np.random.default_rng(5), 300.0, "train"),
        start.sample(np.random.default_rng(5), 300.0, "train"),
    )
    assert len(kept) > 0
    assert abs(np.log(len(drawn) / len(kept))) < 1.5


def test_sessions_of_a_stream_that_began_empty_go_on() -> None:
    stream = STREAM_KINDS["agent_sessions"].parse({"request_class": "a", "rate_sessions_per_s": 0.5, "warm": False})
    later = stream.going_on(np.random.default_rng(0), 300.0, 600.0, "train")
    whole, rest = (
        np.mean(
            [np.isfinite(s.sample(np.random.default_rng(seed), 300.0, "train").arrival_s).sum() for seed in range(20)]
        )
        for s in (stream, later)
    )
    assert rest > 1.2 * whole  # besides those that begin, those that have begun


def test_what_clients_would_pay_today_goes_on_in_every_future() -> None:
    """Half of the clients of an episode take a price near its own factor, known or not."""
    tolerance = {"median": 1.0, "sigma": 0.01, "episode_factor": [0.5, 2.0]}
    scenario = load_scenario("tiny", {"classes.chat-8b.price_tolerance": tolerance})
    fleet, episode = fleet_at(scenario, 20, seed=3)
    future = draw_future(episode, present_of(fleet, 0, 20), 7)
    drawn, minds = future.episode.requests, future.episode.requests.class_id == 0
    fresh = to_come(future)[minds[to_come(future)]]
    factor = np.median(episode.requests.price_tolerance[episode.requests.class_id == 0])
    assert abs(np.log(factor)) > 0.1
    np.testing.assert_allclose(drawn.price_tolerance[fresh], factor, rtol=0.05)
