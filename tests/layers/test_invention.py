"""Invented sessions: they obey the record's rules, and a fitted agent repeats its statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.layers.agents import AgentGeneratorStream, QuantileSpec
from tokenfleet.envs.layers.agents.behaviour import AgentSpec, load_agent
from tokenfleet.envs.layers.agents.invention import invent_sessions
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import SessionTrace


def constant(value: float) -> dict[str, dict[float, float]]:
    return {"quantiles": {0.25: value, 0.75: value}}


def simple_agent(**changes: object) -> AgentSpec:
    """Sessions of six calls: 1,000 tokens first, 640 new ones later, 10 s of tools."""
    return AgentSpec.parse({
        "name": "simple", "sources": [], "calls": constant(6), "groups": {128: 1.0}, "system_tokens": constant(72),
        "first_prompt_tokens": constant(1000), "new_tokens": constant(640), "output_tokens": constant(50),
        "turn_probability": 0.0, "tool_wait_s": constant(10), "think_time_s": constant(100),
        "context_limit_tokens": constant(1e6), "long_context_fraction": 0.0, "compacted_tokens": constant(500),
        "rewrite_probability": 0.0, "service_fixed_s": 2.0, "service_per_output_token_s": 0.1, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def library() -> SessionTrace:
    return invent_sessions(load_agent("coding-agent"), 200, seed=7)


def test_a_context_grows_by_its_new_tokens_behind_the_last_full_block():
    trace = invent_sessions(simple_agent(), 1, seed=0)
    assert trace.prompt_tokens[:6].tolist() == [1000, 1600, 2240, 2880, 3520, 4160]
    assert trace.reusable_tokens[:6].tolist() == [0, 960, 1600, 2240, 2880, 3520]
    assert trace.recorded_s[:6].tolist() == [0, 17, 34, 51, 68, 85]


def test_a_full_context_is_compacted_and_keeps_tools_and_system_prompt():
    trace = invent_sessions(simple_agent(context_limit_tokens=constant(2000)), 1, seed=0)
    assert trace.prompt_tokens[:6].tolist() == [1000, 1600, 2240, 500, 1088, 1728]
    assert trace.reusable_tokens[:6].tolist() == [0, 960, 1600, 200, 448, 1088]


def test_a_rewritten_context_keeps_its_length_and_little_else():
    trace = invent_sessions(simple_agent(rewrite_probability=1.0), 1, seed=0)
    assert trace.prompt_tokens[:3].tolist() == [1000, 1600, 2240]
    assert trace.reusable_tokens[:3].tolist() == [0, 200, 200]


def test_sub_agents_run_side_by_side_and_the_next_call_waits_for_all():
    agents = {
        "session_fraction": 1.0, "launch_probability": 1.0, "mean_width": 2.0, "group_tokens": 64, "calls": constant(2),
        "first_prompt_tokens": constant(300), "new_tokens": constant(100), "output_tokens": constant(50),
        "wait_s": constant(3),
    }  # fmt: skip
    trace = invent_sessions(simple_agent(sub_agents=agents, calls=constant(2)), 3, seed=0)
    for session in range(9):
        rows = np.arange(trace.first_call[session], trace.first_call[session + 1])
        main = rows[trace.conversation[rows] == 0]
        sub = rows[trace.conversation[rows] > 0]
        joined = set(trace.caller[trace.waiter == main[1]].tolist())
        width = trace.conversation[sub[trace.recorded_s[sub] < trace.recorded_s[main[1]]]].max()
        assert len(joined) == 1 + width
        # 7 s of the first call, two calls of a sub-agent with 3 s before each, 10 s of tools.
        assert trace.recorded_s[main].tolist() == [0, 7 + 2 * (3 + 7) + 10]
        assert set(trace.prompt_tokens[sub].tolist()) == {300, 400}
        assert set(trace.group_tokens[trace.group[sub]].tolist()) == {64}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 20))
def test_every_library_obeys_the_rules_of_a_record(seed, count):
    trace = invent_sessions(load_agent("coding-agent"), count, seed)
    assert np.bincount(trace.split).tolist() == [count] * 3
    assert np.all(trace.caller < trace.waiter)
    assert np.all(np.diff(trace.waiter) >= 0)
    assert np.all(np.diff(trace.recorded_s)[np.diff(trace.session) == 0] >= 0)
    assert np.all(trace.reusable_tokens < trace.prompt_tokens)
    assert np.all(trace.group_tokens[trace.group] < trace.prompt_tokens)


def test_the_same_seed_gives_the_same_library_and_another_seed_another(library):
    again = invent_sessions(load_agent("coding-agent"), 200, seed=7)
    other = invent_sessions(load_agent("coding-agent"), 200, seed=8)
    np.testing.assert_array_equal(library.prompt_tokens, again.prompt_tokens)
    assert len(library.prompt_tokens) != len(other.prompt_tokens)


def test_a_stream_draws_from_its_own_splits_library():
    stream = AgentGeneratorStream(
        request_class="agents", rate_sessions_per_s=0.05, library_sessions=50, max_context_tokens=10**7
    )
    trace = stream.sessions()
    for split in ("train", "test"):
        demand = stream.sample(np.random.default_rng(0), 600.0, split)
        known = set(trace.prompt_tokens[trace.calls_of(split)].tolist())
        assert set(demand.prompt_tokens.tolist()) <= known


def test_quantiles_are_met():
    spec = QuantileSpec(quantiles={0.01: 1.0, 0.5: 10.0, 0.9: 1000.0, 0.99: 2000.0})
    values = spec.sample(np.random.default_rng(0), 100_000)
    np.testing.assert_allclose(np.quantile(values, [0.5, 0.9]), [10.0, 1000.0], rtol=0.05)
    assert values.min() == pytest.approx(1.0)
    assert values.max() == pytest.approx(2000.0)
    assert spec.mean == pytest.approx(values.mean(), rel=0.02)


def test_two_quantiles_make_a_lognormal():
    spec = QuantileSpec(quantiles={0.15865525393: 1.0, 0.84134474607: np.e**2})
    score = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(np.log(spec.value(score)), 1.0 + score, atol=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_draws_of_a_session_are_as_alike_as_stated(correlation):
    spec = QuantileSpec(quantiles={0.15865525393: np.e**-1, 0.84134474607: np.e}, session_correlation=correlation)
    session = np.repeat(np.arange(4000), 2)
    first, second = np.log(spec.sample_in_sessions(np.random.default_rng(1), session)).reshape(-1, 2).T
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(correlation, abs=0.08)


@pytest.mark.parametrize(("key", "value", "message"), [
    ("agent", "coding-agents", "agent: unknown name 'coding-agents'; did you mean 'coding-agent'"),
    ("library_sessions", 0, r"library_sessions: .*greater than 0 \(got 0\)"),
    ("library_seed", -1, r"library_seed: .*greater than or equal to 0 \(got -1\)"),
])  # fmt: skip
def test_a_mistake_in_a_stream_names_the_key_and_the_value(key, value, message):
    with pytest.raises(SpecError, match=message):
        AgentGeneratorStream.parse({"request_class": "agents", "rate_sessions_per_s": 0.1, key: value})


@pytest.mark.parametrize(("change", "message"), [
    ({"calls": {"quantiles": {0.1: 5.0, 0.5: 4.0}}}, r"calls: quantiles must not fall: 5 at 0.1, but 4 at 0.5"),
    ({"calls": {"quantiles": {0.5: 4.0}}}, "calls.quantiles: .*at least 2 items"),
    ({"calls": {"quantiles": {0.0: 4.0, 0.5: 5.0}}}, "calls.quantiles.*greater than 0"),
    ({"opening_calls": 3}, "opening_calls and opening_new_tokens go together"),
    ({"calls_to_new_tokens": -2.0}, "calls_to_new_tokens: .*greater than or equal to -1"),
    ({"think_times_s": constant(1)}, "think_times_s: unknown key; did you mean 'think_time_s'"),
])  # fmt: skip
def test_a_mistake_in_an_agent_names_the_key_and_what_is_allowed(change, message):
    with pytest.raises(SpecError, match=message):
        simple_agent(**change)
