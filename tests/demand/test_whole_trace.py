"""A trace as a test set of one episode: every request is offered once, at its recorded time, whatever the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.demand.recordings import demand, drawn
from tokenfleet.envs import FleetEnv
from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.layers.agents import TraceStream
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import Trace, write_trace


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Trace, Path]:
    trace = drawn(demand(3.0, cascade={"swings": {5.0: 0.5}}), 50.0)
    path = tmp_path / "mine.npz"
    write_trace(trace, path)
    return trace, path


def scenario_of(path: Path, **changes: object) -> Scenario:
    stream = {"kind": "trace", "trace": str(path), "whole": True, "request_class": "chat-8b"}
    return load_scenario({**load_entry("scenario", "tiny"), "workload": {"chat-8b": stream}}, changes)


def test_every_request_is_offered_once_at_its_time(recorded: tuple[Trace, Path]) -> None:
    trace, path = recorded
    for seed in (0, 7):
        env = FleetEnv(scenario_of(path), split="test")
        env.reset(seed=seed)
        requests = env.batch.episodes[0].requests
        np.testing.assert_array_equal(requests.arrival_s, trace.arrival_s)
        np.testing.assert_array_equal(requests.prompt_tokens, trace.prompt_tokens)
        np.testing.assert_array_equal(requests.output_tokens, trace.output_tokens)
        over = False
        while not over:
            *_, terminated, over, _ = env.step(np.zeros(env.action_space.shape, np.float32))
            over = over or terminated
        np.testing.assert_array_equal(env.request_log().asked_s, trace.arrival_s)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_whole_trace_is_not_trained_on(recorded: tuple[Trace, Path], split: str) -> None:
    env = FleetEnv(scenario_of(recorded[1]), split=split)
    with pytest.raises(SpecError, match=rf"is a test set, not for split '{split}'; evaluate on split=test"):
        env.reset(seed=0)


def test_an_episode_must_hold_all_of_a_whole_trace(recorded: tuple[Trace, Path]) -> None:
    with pytest.raises(SpecError, match=r"whole: trace .* lasts [\d.]+ s, an episode only 30 s; raise horizon_ticks"):
        scenario_of(recorded[1], horizon_ticks=30)


def test_a_whole_trace_keeps_the_recorded_rate(recorded: tuple[Trace, Path]) -> None:
    with pytest.raises(SpecError, match="rate_rps: a whole trace keeps its own rate"):
        TraceStream.parse({"request_class": "chat", "trace": str(recorded[1]), "whole": True, "rate_rps": 2.0})
