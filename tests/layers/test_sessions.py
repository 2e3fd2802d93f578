"""Recorded sessions: what the shipped record says, and how sessions are cut to an episode."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.catalog import load_sessions, load_trace, read_yaml
from tokenfleet.envs.layers.agents import AgentSessionsStream, Demand, merge
from tokenfleet.envs.layers.agents.replay import Copies
from tokenfleet.envs.layers.agents.replay import replay as cut
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import SessionTrace, read_sessions, write_sessions

WINDOW = 131_072


@pytest.fixture(scope="module")
def record() -> SessionTrace:
    return load_sessions("coding-agents")


@pytest.fixture
def fan_out() -> SessionTrace:
    """One session: call 0, then sub-agents with calls 1 -> 3 and 2, then call 4, which waits for 0, 2 and 3, then 5.

    Every answer takes 10 s. Recorded times: 0; 11, 12; 26 (1 is answered at 21, 5 s of tools); 38 (3 is answered at 36,
    2 s); 148 (100 s of thought).
    """
    return SessionTrace(
        split=np.zeros(1, np.int8),
        start_s=np.zeros(1),
        first_call=np.array([0, 6]),
        prompt_tokens=np.array([100, 50, 60, 70, 200, 300], np.int32),
        output_tokens=np.full(6, 10, np.int32),
        reusable_tokens=np.array([0, 0, 0, 50, 100, 200], np.int32),
        conversation=np.array([0, 1, 2, 1, 0, 0], np.int32),
        begins_turn=np.array([1, 0, 0, 0, 0, 1], np.int8),
        group=np.array([0, 1, 1, 1, 0, -1], np.int32),
        group_tokens=np.array([40, 20], np.int32),
        wait_s=np.array([0.0, 1.0, 2.0, 5.0, 2.0, 100.0]),
        service_s=np.full(6, 10.0),
        caller=np.array([0, 0, 1, 0, 2, 3, 4]),
        waiter=np.array([1, 2, 3, 4, 4, 4, 5]),
    )


def replay(trace: SessionTrace, row: int, at_s: float, horizon_s: float, window: int = WINDOW) -> Demand:
    return cut(trace, Copies(np.array([row]), trace.first_call[1:], np.array([at_s])), horizon_s, window)


def arrivals_if_answered_at_once(demand: Demand) -> np.ndarray:
    at_s = np.where(np.isfinite(demand.arrival_s), demand.arrival_s, 0.0)
    for caller, waiter in sorted(demand.edges.tolist(), key=lambda edge: edge[1]):
        at_s[waiter] = max(at_s[waiter], at_s[caller] + demand.columns["wait_s"][waiter])
    return at_s


# --- the record ---


def test_the_record_has_its_published_statistics(record):
    assert (len(record), len(record.prompt_tokens)) == (483, 34_276)
    main = record.conversation == 0
    assert record.reusable_tokens[main].sum() / record.prompt_tokens[main].sum() == pytest.approx(0.963, abs=0.001)
    # Of all 739 sessions, of which 483 are here.
    assert np.median(record.prompt_tokens[main]) == pytest.approx(103_659, rel=0.03)
    assert np.median(record.output_tokens[main]) == pytest.approx(216, rel=0.02)
    assert np.median(np.bincount(record.session[main])) == pytest.approx(45, abs=1)
    busy_s, wall_s = (
        np.bincount(record.session[main], seconds[main])
        for seconds in (record.service_s, record.service_s + record.wait_s)
    )
    assert np.median(busy_s / wall_s) == pytest.approx(0.12, abs=0.02)


def test_a_call_can_only_reuse_what_its_conversation_had(record):
    key = record.session * 1000 + record.conversation
    order = np.argsort(key, kind="stable")
    same = np.diff(key[order]) == 0
    previous, row = order[:-1][same], order[1:][same]
    context = record.prompt_tokens[previous] + record.output_tokens[previous]
    assert np.all(record.reusable_tokens[row] <= np.minimum(context, record.prompt_tokens[row]))
    first = np.setdiff1d(np.arange(len(key)), row)
    assert not record.reusable_tokens[first].any()


def test_a_group_prefix_is_part_of_every_prompt_of_the_group(record):
    grouped = record.group >= 0
    assert grouped.mean() > 0.9
    assert np.all(record.group_tokens[record.group[grouped]] <= record.prompt_tokens[grouped])


def test_calls_stand_in_the_order_in_which_they_were_made(record):
    assert np.all(record.caller < record.waiter)
    assert np.all(record.session[record.caller] == record.session[record.waiter])
    assert np.all(np.diff(record.recorded_s)[np.diff(record.session) == 0] >= 0)


def test_sub_agents_fan_out_and_are_joined(record):
    waits_for = np.bincount(record.waiter, minlength=len(record.wait_s))
    sub = np.unique(np.stack([record.session, record.conversation])[:, record.conversation > 0], axis=1)
    assert sub.shape[1] == 50
    joins = np.flatnonzero(waits_for > 1)
    assert np.all(record.conversation[joins] == 0)
    assert waits_for[joins].sum() - len(joins) == 44  # the other six ran in the background or ended their session


def test_splits_are_alike_and_share_no_session(record):
    assert [len(record.sessions_of(split)) for split in SPLITS] == [290, 97, 96]
    for split in SPLITS:
        np.testing.assert_allclose(record.amounts[record.sessions_of(split)].mean(0), record.amounts.mean(0), rtol=0.02)
    calls = {
        split: set(zip(*(column[record.calls_of(split)].tolist() for column in
                         (record.prompt_tokens, record.output_tokens, record.service_s)), strict=True))
        for split in ("train", "validation", "test")
    }  # fmt: skip
    assert len(calls["train"] & calls["test"]) <= 2  # coincidences: the record allows up to two between clusters
    assert len(calls["train"] & calls["validation"]) <= 2


def test_the_record_names_its_licence(record):
    about = read_yaml(Path(__file__).parents[2] / "envs/catalog/trace/coding-agents.yaml")
    assert about["license"] == "Apache-2.0"
    assert "callanjfox" in about["attribution"]


def test_the_compact_form_keeps_every_call(record, tmp_path: Path):
    write_sessions(record, tmp_path / "again.npz")
    again = read_sessions(tmp_path / "again.npz")
    for column in fields(record):
        np.testing.assert_array_equal(getattr(again, column.name), getattr(record, column.name), column.name)


def test_a_trace_of_the_wrong_kind_is_named(tmp_path: Path):
    with pytest.raises(SpecError, match="holds sessions, not independent requests; replay it with kind"):
        load_trace("coding-agents")
    with pytest.raises(SpecError, match=r"azure-chat-2023\.npz: holds no sessions: column 'split' is missing"):
        load_sessions("azure-chat-2023")


# --- cutting to an episode ---


def test_recorded_times_follow_from_waits_and_services(fan_out):
    assert fan_out.recorded_s.tolist() == [0, 11, 12, 26, 38, 148]
    assert fan_out.earliest_s.tolist() == [0, 1, 2, 6, 8, 108]


def test_a_session_from_its_start_keeps_its_whole_graph(fan_out):
    demand = replay(fan_out, 0, 5.0, 1000.0)
    assert demand.arrival_s.tolist() == [5.0, *[np.inf] * 5]
    assert demand.edges.tolist() == np.stack([fan_out.caller, fan_out.waiter], axis=1).tolist()
    assert demand.columns["wait_s"].tolist() == [0, 1, 2, 5, 2, 100]
    assert demand.columns["conversation_id"].tolist() == [0, 1, 2, 1, 0, 0]
    assert demand.columns["group_tokens"].tolist() == [40, 20, 20, 20, 40, 0]
    assert demand.columns["session_id"].tolist() == [0] * 6


def test_a_session_under_way_begins_with_what_waits_for_nobody_still_to_come(fan_out):
    """From call 1 on: 1 and 2 arrive as recorded, 1 s apart; the join waits for 2 and 3 but no longer for 0."""
    demand = replay(fan_out, 1, 0.25, 1000.0)
    assert demand.arrival_s.tolist() == [0.25, 1.25, np.inf, np.inf, np.inf]
    assert demand.edges.tolist() == [[0, 2], [1, 3], [2, 3], [3, 4]]
    assert demand.columns["conversation_id"].tolist() == [1, 2, 1, 0, 0]


def test_a_context_from_before_has_the_age_of_the_answer_that_left_it(fan_out):
    """Call 3 arrives at 4 s, 26 s into the record: call 1 was answered at 21 s, call 0 at 10 s; the start is 22 s."""
    demand = replay(fan_out, 3, 4.0, 1000.0)
    assert demand.prompt_tokens.tolist() == [70, 200, 300]
    assert demand.columns["context_age_s"].tolist() == [1.0, 12.0, np.inf]


def test_nothing_is_older_than_the_start_of_an_answer_that_was_under_way(fan_out):
    """Call 3 arrives at 9 s: call 1 was still being answered when the episode began."""
    assert replay(fan_out, 3, 9.0, 1000.0).columns["context_age_s"][0] == 0.0


def test_a_session_from_its_start_has_no_context_from_before(fan_out):
    assert np.isinf(replay(fan_out, 0, 5.0, 1000.0).columns["context_age_s"]).all()


def test_what_cannot_arrive_within_the_episode_is_left_out(fan_out):
    """Even with answers at once, call 5 comes 108 s after the session's start."""
    assert len(replay(fan_out, 0, 5.0, 113.0)) == 5
    assert len(replay(fan_out, 0, 5.0, 113.1)) == 6
    assert len(replay(fan_out, 0, 5.0, 10.9)) == 3


def test_a_call_behind_one_that_never_arrives_is_left_out(fan_out):
    late = replace(fan_out, wait_s=np.array([0.0, 1.0, 50.0, 5.0, 2.0, 1.0]))
    demand = replay(late, 1, 0.0, 40.0)
    assert demand.prompt_tokens.tolist() == [50, 70]


def test_a_prompt_longer_than_the_context_loses_reusable_tokens_first(fan_out):
    demand = replay(fan_out, 0, 0.0, 1000.0, window=160)
    assert (demand.prompt_tokens + demand.output_tokens).tolist() == [110, 60, 70, 80, 160, 160]
    fresh = fan_out.prompt_tokens - fan_out.reusable_tokens
    assert (demand.prompt_tokens - demand.columns["reusable_tokens"]).tolist() == fresh.tolist()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), horizon_s=st.floats(5.0, 5000.0), split=st.sampled_from(["train", "validation"]))
def test_every_episode_is_a_table_that_the_engines_accept(seed, horizon_s, split):
    stream = AgentSessionsStream(request_class="agents", rate_sessions_per_s=0.02)
    demand = stream.sample(np.random.default_rng(seed), horizon_s, split)
    table = merge([demand, demand], [0, 1])
    roots = np.isfinite(table.arrival_s)
    assert np.all(table.arrival_s[roots] < horizon_s)
    assert np.all((table.predecessors == 0) == roots)
    assert np.all(table.prompt_tokens + table.output_tokens <= stream.max_context_tokens)
    assert np.all(table.reusable_tokens <= table.prompt_tokens)
    if len(demand):
        assert arrivals_if_answered_at_once(demand).min() >= 0
        assert table.conversation_id.max() + 1 == len(np.unique(table.conversation_id))


def test_a_warm_episode_of_a_record_without_service_times_has_its_stated_rate_from_the_first_calls_on(record):
    """A fleet that answers at once is then as fast as the record: the one case in which the sampling is exact."""
    at_once = replace(record, service_s=np.zeros_like(record.service_s))

    class AtOnce(AgentSessionsStream):
        def sessions(self) -> SessionTrace:
            return at_once

    stream = AtOnce(request_class="agents", rate_sessions_per_s=1.0)
    counts = np.zeros(6)
    for seed in range(12):
        at_s = arrivals_if_answered_at_once(stream.sample(np.random.default_rng(seed), 600.0, "train"))
        counts += np.histogram(at_s, bins=np.arange(0, 601, 100))[0]
    expected = 12 * 100 * stream.mean_rate_rps
    np.testing.assert_allclose(counts / expected, 1.0, atol=0.05)


def test_a_cold_episode_begins_empty(record):
    stream = AgentSessionsStream(request_class="agents", rate_sessions_per_s=0.05, warm=False)
    demand = stream.sample(np.random.default_rng(0), 600.0, "train")
    roots = np.flatnonzero(np.isfinite(demand.arrival_s))
    assert not demand.columns["reusable_tokens"][roots].any()
    assert np.isinf(demand.columns["context_age_s"]).all()
    assert len(roots) == len(np.unique(demand.columns["session_id"]))


def test_bursts_of_sessions_keep_the_rate_and_are_burstier():
    counts = {}
    for size in (1.0, 8.0):
        stream = AgentSessionsStream(
            request_class="agents", rate_sessions_per_s=0.5, warm=False, mean_burst_sessions=size, burst_spread_s=5.0
        )
        starts = [stream.sample(np.random.default_rng(seed), 600.0, "train").arrival_s for seed in range(20)]
        counts[size] = np.concatenate(
            [np.histogram(start[np.isfinite(start)], bins=np.arange(0, 601, 60))[0] for start in starts]
        )
    for values in counts.values():
        assert values.mean() == pytest.approx(30, rel=0.15)
    assert counts[1.0].var() / counts[1.0].mean() == pytest.approx(1.0, abs=0.3)
    assert counts[8.0].var() / counts[8.0].mean() > 5


@pytest.mark.parametrize(("key", "value", "message"), [
    ("trace", "coding-agent", "trace: unknown name 'coding-agent'; did you mean 'coding-agents'"),
    ("trace", "azure-chat-2023", "trace: .*holds no sessions"),
    ("rate_sessions_per_s", 0, r"rate_sessions_per_s: .*greater than 0 \(got 0\)"),
    ("mean_burst_sessions", 0.5, r"mean_burst_sessions: .*greater than or equal to 1"),
    ("max_context_tokens", 1, r"max_context_tokens: .*greater than or equal to 2"),
    ("rate_session_per_s", 1.0, "rate_session_per_s: unknown key; did you mean 'rate_sessions_per_s'"),
])  # fmt: skip
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(key, value, message):
    with pytest.raises(SpecError, match=message):
        AgentSessionsStream.parse({"request_class": "agents", "rate_sessions_per_s": 0.1, key: value})
