"""Hidden regimes change demand, willingness to pay, cooling and what clocks do as stated; only indicators tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.episode.futures import fleet_at, played, undisturbed
from tokenfleet.envs.engine import present_of
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.episode.future import draw_future
from tokenfleet.envs.episode.regimes import RegimeCourse
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.rows import Layout
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.scenario.regimes import RegimeSpec
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable

TWO: dict[str, Any] = {
    "calm": {"mean_stay_s": 30.0},
    "rush": {"mean_stay_s": 10.0, "streams": {"chat-8b": {"rate_factor": 3.0}}},
}

THREE: dict[str, Any] = {
    "a": {"mean_stay_s": 5.0, "weight": 1.0, "cooling_factor": {"lab": 2.0}},
    "b": {"mean_stay_s": 9.0, "weight": 2.0},
    "c": {"mean_stay_s": 3.0, "weight": 4.0},
}


def spec(states: dict[str, Any], **others: Any) -> RegimeSpec:
    return RegimeSpec.parse({"states": states, **others})


def scenario_with(states: dict[str, Any], horizon_ticks: int = 120, **others: Any) -> Scenario:
    return load_scenario("tiny", {"horizon_ticks": horizon_ticks, "regimes": {"mood": {"states": states, **others}}})


@pytest.mark.parametrize(
    "regime",
    [spec(TWO), spec(THREE), spec({"low": {}, "high": TWO["rush"] | {"mean_stay_s": None}}, drift_memory_s=40.0)],
)
def test_the_stated_share_of_time_is_that_of_the_chain(regime: RegimeSpec) -> None:
    chance = regime.transition(1.0)
    np.testing.assert_allclose(regime.stationary @ chance, regime.stationary, atol=1e-12)
    flow = regime.stationary[:, None] * chance
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)  # so that it runs either way


def test_two_states_have_their_closed_form() -> None:
    rate = 1.0 / 30.0 + 1.0 / 10.0
    left = 0.25 * (1.0 - np.exp(-2.0 * rate))
    np.testing.assert_allclose(spec(TWO).transition(2.0)[0], [1.0 - left, left], rtol=1e-12)


def test_a_drift_forgets_in_its_memory() -> None:
    drift = spec({"low": {}, "high": {"cooling_factor": {"lab": 2.0}}}, drift_memory_s=40.0)
    slowest = np.sort(np.linalg.eigvals(drift.transition(1.0)).real)[-2]
    assert slowest == pytest.approx(np.exp(-1.0 / 40.0), rel=1e-9)


def test_a_regime_without_stays_holds_all_episode() -> None:
    drawn = [
        RegimeCourse.draw(spec({"a": {"weight": 3.0}, "b": {"cooling_factor": {"lab": 2.0}}}), 1.0, 50, rng)
        for rng in map(np.random.default_rng, range(400))
    ]
    assert all(len(set(course.position.tolist())) == 1 for course in drawn)
    assert np.mean([course.position[0] for course in drawn]) == pytest.approx(0.25, abs=0.06)


def test_requests_come_as_the_regime_has_it() -> None:
    scenario = scenario_with(
        {
            "calm": {"mean_stay_s": 60.0},
            "rush": {"mean_stay_s": 60.0, "streams": {"chat-8b": {"rate_factor": 3.0, "output_factor": 2.0}}},
        },
        2000,
    )
    plain = load_scenario("tiny").workload["chat-8b"]
    episode = sample_episode(scenario, 0)
    assert episode.origin is not None
    rush = episode.origin.regimes.courses[0].position[:2000] == 1
    requests = episode.requests
    chat = requests.class_id == list(scenario.classes).index(plain.request_class)
    in_rush = rush[(requests.arrival_s / scenario.tick_s).astype(int)]
    for state, factor in ((rush, 3.0), (~rush, 1.0)):
        arrived = int((chat & (in_rush == (factor == 3.0))).sum())
        expected = factor * plain.mean_rate_rps * state.sum() * scenario.tick_s
        assert abs(arrived - expected) < 5.0 * np.sqrt(expected)
    longer = requests.output_tokens[chat & in_rush].mean() / requests.output_tokens[chat & ~in_rush].mean()
    assert longer == pytest.approx(2.0, rel=0.1)
    assert scenario.mean_rate_rps(plain.request_class) == pytest.approx(2.0 * plain.mean_rate_rps)
    assert scenario.mean_demand("chat-8b").output_tokens == pytest.approx(plain.mean_output_tokens * 3.5 / 2.0)


def test_clients_would_pay_what_the_regime_has_when_they_come() -> None:
    changes = {"price_tolerance": {"median": 1.0, "sigma": 0.0}, "token_price_factor": {"low": 0.5, "high": 4.0}}
    overrides = {f"classes.chat-8b.{key}": value for key, value in changes.items()}
    states = {"rich": {"mean_stay_s": 20.0, "price_tolerance_factor": {"chat-8b": 2.5}}, "poor": {"mean_stay_s": 20.0}}
    scenario = load_scenario("tiny", {"horizon_ticks": 200, **overrides, "regimes": {"purse": {"states": states}}})
    episode = sample_episode(scenario, 3)
    assert episode.origin is not None
    rich = episode.origin.regimes.courses[0].position[(episode.requests.arrival_s / scenario.tick_s).astype(int)] == 0
    chat = episode.requests.class_id == list(scenario.classes).index("chat-8b")
    np.testing.assert_allclose(episode.requests.price_tolerance[chat], np.where(rich, 2.5, 1.0)[chat])


def test_cooling_takes_what_the_regime_has() -> None:
    scenario = scenario_with(
        {"clean": {"mean_stay_s": 20.0}, "fouled": {"mean_stay_s": 20.0, "cooling_factor": {"lab": 1.5}}}
    )
    episode, plain = sample_episode(scenario, 1), sample_episode(load_scenario("tiny", {"horizon_ticks": 120}), 1)
    assert episode.origin is not None
    factor = np.where(episode.origin.regimes.courses[0].position[:120] == 1, 1.5, 1.0)
    np.testing.assert_allclose(episode.pue[:, 0] - 1.0, (plain.pue[:, 0] - 1.0) * factor)
    np.testing.assert_array_equal(episode.requests.arrival_s, plain.requests.arrival_s)


def test_clocks_cost_what_the_regime_has() -> None:
    states = {
        "measured": {"mean_stay_s": 20.0},
        "other": {"mean_stay_s": 20.0, "clock_sensitivity_factor": {"lab-70b": 2.0}},
    }
    scenario = scenario_with(states)
    episode = sample_episode(scenario, 1)
    assert episode.origin is not None
    factor = np.where(episode.origin.regimes.courses[0].position[:120] == 1, 2.0, 1.0)
    np.testing.assert_array_equal(episode.clock_sensitivity_factor, factor[:, None])
    assert FleetArrays.from_scenario(scenario).unsteady.tolist() == [-1, 0]


@pytest.mark.parametrize("drift_memory_s", [None, 30.0])
def test_arrays_hold_the_worst_pue_that_regimes_can_make(drift_memory_s: float | None) -> None:
    stay = {} if drift_memory_s else {"mean_stay_s": 20.0}
    states = {"eased": {**stay, "cooling_factor": {"lab": 0.8}}, "fouled": {**stay, "cooling_factor": {"lab": 1.5}}}
    scenario = scenario_with(states, drift_memory_s=drift_memory_s)
    worst = max(float(sample_episode(scenario, seed).pue.max()) for seed in range(20))
    assert worst == pytest.approx(float(FleetArrays.from_scenario(scenario).pue[0]))


def test_the_indicator_goes_ahead_by_its_lead_with_its_noise() -> None:
    scenario = scenario_with(TWO, 3000, indicator={"lead_s": 25.0, "noise": 0.3, "noise_memory_s": 4.0})
    episode = sample_episode(scenario, 0)
    assert episode.origin is not None
    course, sizes = episode.origin.regimes.courses[0], axis_sizes(scenario)
    layout = Layout(EXOGENOUS, sizes)
    shown = episode.exogenous[:, layout.slice("regime_indicator")][:, 0]
    lead = round(25.0 / scenario.tick_s)
    error = shown - course.position[lead:]
    assert error.std() == pytest.approx(0.3, rel=0.15)
    assert np.corrcoef(error[1:], error[:-1])[0, 1] == pytest.approx(np.exp(-scenario.tick_s / 4.0), abs=0.06)


def test_another_future_draws_the_regime_from_what_its_indicator_says() -> None:
    """Over many pasts that look alike, the drawn positions are distributed as the true ones."""
    regime = spec(TWO, indicator={"lead_s": 0.0, "noise": 1.0})
    true, drawn = [], []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        course = RegimeCourse.draw(regime, 1.0, 12, rng)
        future = course.go_on(8, rng)
        np.testing.assert_array_equal(future.position[:8], course.position[:8])
        np.testing.assert_array_equal(future.indicator[:9], course.indicator[:9])
        seen = course.indicator[:9].mean() > 0.5
        true.append((seen, course.position[8]))
        drawn.append((seen, future.position[8]))
    for seen in (False, True):
        of_true, of_drawn = ([at for told, at in pairs if told == seen] for pairs in (true, drawn))
        assert np.mean(of_drawn) == pytest.approx(np.mean(of_true), abs=0.09)
    assert np.mean([at for seen, at in drawn if seen]) > np.mean([at for seen, at in drawn if not seen]) + 0.3


def test_whoever_lives_another_future_under_regimes_comes_to_the_same_present() -> None:
    changes = {"cooling_factor": {"lab": 1.5}, "clock_sensitivity_factor": {"lab-8b": 3.0}}
    hot = {"calm": TWO["calm"], "rush": {**TWO["rush"], **changes}}
    scenario = scenario_with(hot, indicator={"lead_s": 10.0, "noise": 0.5})
    fleet, episode = fleet_at(scenario, 60, clock=0.5)
    future = draw_future(episode, present_of(fleet, 0, 60), 7)
    again = draw_future(episode, undisturbed(scenario, episode, 60), 7).episode
    np.testing.assert_array_equal(played(fleet.arrays, future.episode, 60, clock=0.5).view.rows, fleet.view.rows)
    np.testing.assert_array_equal(future.episode.exogenous[:61], episode.exogenous[:61])
    np.testing.assert_array_equal(future.episode.exogenous, again.exogenous)
    assert not np.array_equal(future.episode.exogenous[61:], episode.exogenous[61:])


def test_another_future_tells_nothing_of_the_hidden_regime_of_the_coming_tick() -> None:
    changes = {"cooling_factor": {"lab": 1.5}, "clock_sensitivity_factor": {"lab-8b": 3.0}}
    scenario = scenario_with({"one": {"mean_stay_s": 40.0}, "other": {"mean_stay_s": 40.0, **changes}})
    fleet, episode = fleet_at(scenario, 60)
    now = present_of(fleet, 0, 60)
    clean = sample_episode(load_scenario("tiny", {"horizon_ticks": 120}), 0).pue[60:, 0]
    futures = [draw_future(episode, now, seed).episode for seed in range(100)]
    for future in futures:
        assert future.origin is not None
        np.testing.assert_array_equal(future.clock_sensitivity_factor[:60], episode.clock_sensitivity_factor[:60])
        np.testing.assert_array_equal(
            future.clock_sensitivity_factor[60:], future.origin.regimes.clock_sensitivity_factor()[60:]
        )
        is_fouled = future.origin.regimes.courses[0].position[60:120] == 1
        np.testing.assert_allclose(future.pue[60:, 0] - 1.0, (clean - 1.0) * (1.0 + 0.5 * is_fouled))
    for name in ("clock_sensitivity_factor", "pue"):
        told = [getattr(future, name)[60, 0] == getattr(episode, name)[60, 0] for future in futures]
        assert 0.35 < np.mean(told) < 0.65, name


@pytest.mark.parametrize(
    ("states", "others", "message"),
    [
        ({"a": {}, "b": {}}, {}, "no state changes anything"),
        ({"a": {"mean_stay_s": 3.0}, "b": {"cooling_factor": {"lab": 2.0}}}, {}, "every state a mean_stay_s"),
        ({"a": {}, "b": {"cooling_factor": {"lap": 2.0}}}, {}, "cooling_factor.lap: no such site; did you mean 'lab'"),
        ({"a": {}, "b": {"clock_sensitivity_factor": {"lab": 2.0}}}, {}, "clock_sensitivity_factor.lab: no such pool"),
        ({"a": {}, "b": {"cooling_factor": {"lab": 1e7}}}, {}, "cooling_factor.lab"),
        ({"a": {}, "b": {"streams": {"chat": {}}}}, {}, "streams.chat: no such stream"),
        ({"a": {}, "b": {"price_tolerance_factor": {"chat-8b": 2.0}}}, {}, "has a price_tolerance"),
        (TWO, {"drift_memory_s": 5.0}, "have no mean_stay_s"),
        (THREE, {"drift_memory_s": 5.0}, "between two states"),
    ],
)
def test_a_wrong_regime_is_refused_by_its_key(states: dict[str, Any], others: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        scenario_with(states, **others)


def test_calls_of_sessions_have_no_factor_of_length() -> None:
    states = {"a": {}, "b": {"streams": {"agents": {"output_factor": 2.0}}}}
    with pytest.raises(SpecError, match=r"streams\.agents\.output_factor: the calls of sessions build on each other"):
        load_scenario("agent-swarm", {"regimes": {"mood": {"states": states}}})


def _agent_calls(regime: str) -> RequestTable:
    """Calls of an episode of `agent-swarm` that is in one of two regimes from beginning to end."""
    factors = {"quiet": 0.25, "loud": 2.0}
    states = {
        name: {"streams": {"agents": {"rate_factor": factor}}, "weight": 1.0 if name == regime else 1e-9}
        for name, factor in factors.items()
    }
    changes = {"horizon_ticks": 300, "regimes": {"mood": {"states": states}}}
    return sample_episode(load_scenario("agent-swarm", changes), 0).requests


def _sessions(table: RequestTable) -> set[tuple[float, int, int]]:
    """Of each session: when it begins, how many calls it has, and the tokens of their prompts."""
    rows = [table.session_id == session for session in np.unique(table.session_id)]
    return {(float(table.arrival_s[row].min()), int(row.sum()), int(table.prompt_tokens[row].sum())) for row in rows}


def test_a_regime_thins_whole_sessions() -> None:
    plain = sample_episode(load_scenario("agent-swarm", {"horizon_ticks": 300}), 0).requests
    loud, quiet = _sessions(_agent_calls("loud")), _sessions(_agent_calls("quiet"))
    assert len(loud) == pytest.approx(2.0 * len(_sessions(plain)), rel=0.25)
    assert 0.05 < len(quiet) / len(loud) < 0.25
    assert quiet < loud
