"""Recorded and invented sessions run through the engine: who waits for whom, and how many calls come of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.runs import Run, run
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.scenario import Scenario, load_scenario

STREAMS = {
    "agent_sessions": {"kind": "agent_sessions", "rate_sessions_per_s": 0.02},
    "agent_generator": {"kind": "agent_generator", "rate_sessions_per_s": 0.02, "library_sessions": 200},
}


def with_agents(stream: dict[str, object]) -> Scenario:
    """The default fleet with short contexts, so that it answers faster than the record's models did."""
    workload = {"agents": {**stream, "request_class": "agents-70b", "max_context_tokens": 8000}}
    takes_any_price = {"classes.agents-70b.price_tolerance": {"median": 1e6}}
    changes = {"workload": workload, "classes.agents-70b.patience_s": 600.0, **takes_any_price}
    return load_scenario("default", changes)


def play(stream: dict[str, object], seed: int) -> tuple[Episode, Run]:
    scenario = with_agents(stream)
    episode = sample_episode(scenario, seed)
    return episode, run("native", FleetArrays.from_scenario(scenario), episode)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_call_is_made_when_all_that_it_waits_for_are_answered_and_its_wait_is_over(kind):
    episode, played = play(STREAMS[kind], seed=0)
    requests, log = episode.requests, played.log
    caller = np.repeat(np.arange(len(requests)), np.diff(requests.successor_start))
    answered_s = np.full(len(requests), -np.inf)
    np.maximum.at(answered_s, requests.successor, np.nan_to_num(log.finished_s[caller], nan=np.inf))
    made = ~np.isnan(log.asked_s) & (requests.predecessors > 0)
    assert made.sum() > 100
    np.testing.assert_allclose(log.asked_s[made], (answered_s + requests.wait_s)[made], atol=1e-6)


@pytest.mark.parametrize("kind", STREAMS)
def test_calls_come_at_the_stated_rate(kind):
    """Although the fleet answers short contexts faster than the record's models did: agents mostly wait for tools."""
    scenario = with_agents(STREAMS[kind])
    asked = []
    for seed in range(24):
        _, played = play(STREAMS[kind], seed)
        asked.append(np.sum(~np.isnan(played.log.asked_s)))
    expected = scenario.mean_rate_rps("agents-70b") * scenario.horizon_s
    standard_error = np.std(asked, ddof=1) / np.sqrt(len(asked))
    assert np.mean(asked) == pytest.approx(expected, abs=3 * standard_error + 0.05 * expected)
