"""Streams become one table; clients are drawn apart from the rest of an episode."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.agents import (
    Demand,
    PoissonStream,
    RequestClassSpec,
    client_columns,
    merge,
    region_problems,
)
from tokenfleet.envs.scenario import load_scenario

PRICES = {"model": "llama-3.1-8b", "usd_per_million_input_tokens": 0.1, "usd_per_million_output_tokens": 0.1}


def chain(first_s: float, tokens: int) -> Demand:
    """A call at `first_s`, another after it, and an independent conversation's call one second later."""
    return Demand(
        np.array([first_s, np.inf, first_s + 1]),
        np.full(3, tokens, np.int32),
        np.ones(3, np.int32),
        columns={
            "conversation_id": np.array([0, 0, 1], np.int32),
            "session_id": np.array([0, 0, 1], np.int32),
            "wait_s": np.array([0.0, 4.0, 0.0]),
        },
        edges=np.array([[0, 1]]),
    )


def plain(*arrivals_s: float) -> Demand:
    return Demand(np.array(arrivals_s), np.full(len(arrivals_s), 9, np.int32), np.ones(len(arrivals_s), np.int32))


def test_rows_stand_by_arrival_and_waiting_calls_behind():
    table = merge([chain(5.0, 1), plain(2.0, 5.5), chain(0.0, 3)], [0, 1, 2])
    assert table.arrival_s.tolist() == [0.0, 1.0, 2.0, 5.0, 5.5, 6.0, np.inf, np.inf]
    assert table.class_id.tolist() == [2, 2, 1, 0, 1, 0, 0, 2]


def test_conversations_and_sessions_of_streams_stay_apart_and_independent_requests_have_none():
    table = merge([chain(5.0, 1), plain(2.0, 5.5), chain(0.0, 3)], [0, 1, 2])
    assert table.conversation_id.tolist() == [2, 3, -1, 0, -1, 1, 0, 2]
    assert table.session_id.tolist() == [2, 3, -1, 0, -1, 1, 0, 2]
    assert table.wait_s.tolist() == [0, 0, 0, 0, 0, 0, 4, 4]


def test_waiting_follows_the_rows():
    table = merge([chain(5.0, 1), plain(2.0, 5.5), chain(0.0, 3)], [0, 1, 2])
    assert {row: table.successors(row).tolist() for row in range(8) if len(table.successors(row))} == {0: [7], 3: [6]}
    assert table.predecessors.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def test_open_loop_streams_need_no_column_of_their_own():
    table = merge([plain(1.0), plain(0.5)], [0, 0])
    assert not table.is_closed_loop
    assert table.conversation_id.tolist() == [-1, -1]
    assert table.price_tolerance.tolist() == [np.inf, np.inf]


CLASSES = {
    "plain": RequestClassSpec.parse(PRICES),
    "picky": RequestClassSpec.parse({**PRICES, "price_tolerance": {"median": 2.0}}),
}


def stream(request_class: str, **keys: object) -> PoissonStream:
    lengths = {"median_tokens": 10, "sigma": 0}
    return PoissonStream.parse({
        "request_class": request_class, "rate_rps": 1.0, "prompt": lengths, "output": lengths, **keys
    })  # fmt: skip


def draw(demands, streams, regions=None):
    return client_columns([0], demands, streams, CLASSES, regions or {})


def test_clients_are_drawn_only_for_classes_that_ask():
    assert draw([plain(1.0)], [stream("plain")], {"here": 1.0}) == {}


def test_a_session_is_one_client():
    tolerance = draw([chain(0.0, 1), plain(1.0), plain(1.0, 2.0)], [stream("picky"), stream("plain"), stream("picky")])[
        "price_tolerance"
    ]
    assert tolerance[0] == tolerance[1] != tolerance[2]
    assert tolerance[3] == np.inf
    assert len(set(tolerance[[0, 2, 4, 5]])) == 4


def test_clients_stand_where_their_stream_or_else_the_scenario_says():
    many = plain(*np.linspace(0, 1, 4000))
    streams = [stream("plain"), stream("plain", region="south"), stream("plain", region={"north": 1.0, "east": 3.0})]
    region_id = draw([many] * 3, streams, {"north": 1.0, "east": 1.0, "south": 2.0})["region_id"].reshape(3, -1)
    shares = np.array([np.bincount(row, minlength=3) / 4000 for row in region_id])
    np.testing.assert_allclose(shares, [[0.25, 0.25, 0.5], [0, 0, 1], [0.25, 0.75, 0]], atol=0.03)


def test_calls_of_a_session_come_from_one_region():
    regions = {f"r{k}": 1.0 for k in range(50)}
    region_id = draw([chain(0.0, 1)] * 20, [stream("plain")] * 20, regions)["region_id"].reshape(20, 3)
    assert np.all(region_id[:, 0] == region_id[:, 1])
    assert np.any(region_id[:, 0] != region_id[:, 2])


def test_a_region_that_does_not_exist_is_named():
    assert region_problems(stream("plain"), ["north"]) == []
    assert region_problems(stream("plain", region={"north": 1.0}), ["north"]) == []
    (problem,) = region_problems(stream("plain", region="nort"), ["north", "east"])
    assert problem.startswith("region: unknown region 'nort'; did you mean 'north'")


def test_a_class_that_retries_changes_nothing_else_of_an_episode():
    before = sample_episode(load_scenario("tiny"), 3)
    after = sample_episode(load_scenario("tiny", {"classes.chat-8b.max_attempts": 3}), 3)
    np.testing.assert_array_equal(before.requests.arrival_s, after.requests.arrival_s)
    np.testing.assert_array_equal(before.requests.prompt_tokens, after.requests.prompt_tokens)
    np.testing.assert_array_equal(before.cap_w, after.cap_w)
    assert set(before.requests.retry_uniform) == {0.5}
    assert 0 <= after.requests.retry_uniform.min() < after.requests.retry_uniform.max() < 1


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_scenario_with_agent_sessions_draws_a_closed_loop(split):
    scenario = load_scenario("tiny", {
        "workload.chat-70b": {"kind": "agent_sessions", "request_class": "chat-70b", "rate_sessions_per_s": 0.05}
    })  # fmt: skip
    requests = sample_episode(scenario, 0, split).requests
    assert requests.is_closed_loop
    assert set(requests.class_id[requests.session_id >= 0]) == {1}
