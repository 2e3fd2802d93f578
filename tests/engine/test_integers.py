"""Counts as high as they may be: nothing wraps, and what is higher is refused where it enters."""

import numpy as np
import pytest

from tests.engine.runs import ENGINES, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.layers.agents.lengths import TokenLengthSpec
from tokenfleet.envs.spec import MAX_TOKENS, SpecError
from tokenfleet.envs.traces import RequestTable, SessionTrace, read_sessions, read_trace, write_sessions


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kv_grows", [False, True])
def test_the_longest_requests_are_computed_to_the_token(engine, kv_grows):
    """Thirty prompts together have more tokens than 31 bits count, and the first iteration takes most of them."""
    count = 30
    arrays = one_pool(
        fixed_s=3.0,
        token_s=0.0,
        decode_s=0.0,
        token_budget=2**31,
        kv_tokens=2**40,
        kv_grows=kv_grows,
        max_batch=count,
    )
    rows = np.full(count, MAX_TOKENS, np.int32)
    episode = plain_episode(arrays, RequestTable.of(np.zeros(count), rows, np.full(count, 2)))
    result = run(engine, arrays, episode)
    assert result.total("prefilled_tokens") == count * MAX_TOKENS
    assert result.total("prompt_tokens_asked") == count * MAX_TOKENS
    assert (result.log.status == 1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_beyond_the_context_limit_is_refused_however_long(engine):
    arrays = one_pool(kv_tokens=MAX_TOKENS)
    episode = plain_episode(arrays, RequestTable.of([0.5], [MAX_TOKENS], [MAX_TOKENS]))
    assert run(engine, arrays, episode).log.status.tolist() == [2]


def test_a_replica_counts_more_iterations_than_32_bits():
    """Twenty-six answers one after the other, a token each millisecond: 2.6e9 iterations, more than 2^31."""
    count = 26
    arrays = one_pool(
        fixed_s=1e-3, token_s=0.0, decode_s=0.0, kv_tokens=2**40, max_batch=1, tick_s=1e5, horizon_ticks=30
    )
    rows = np.full(count, MAX_TOKENS, np.int32)
    episode = plain_episode(arrays, RequestTable.of(np.zeros(count), np.ones(count, np.int32), rows))
    log = run("native", arrays, episode, [neutral(arrays)] * 30).log
    np.testing.assert_allclose(log.finished_s, 1e5 * np.arange(1, count + 1), rtol=1e-12)


@pytest.mark.parametrize("tokens", [MAX_TOKENS + 1, 1_200_000_000, 3_000_000_000])
def test_more_tokens_than_the_bound_are_refused_by_the_table(tokens):
    with pytest.raises(SpecError, match=rf"requests\.prompt_tokens: must be 1 to 100,000,000 \(got {tokens}\)"):
        RequestTable.of([0.0], np.array([tokens]), [1])


def test_more_tokens_than_the_bound_are_refused_by_file_and_line(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n1,1200000000,1200000000\n")
    with pytest.raises(
        SpecError, match=r"long\.csv:3: prompt_tokens: must be .* 1 to 100,000,000 \(got '1200000000'\)"
    ):
        read_trace(path)


def test_more_tokens_than_the_bound_are_refused_in_an_archive_of_sessions(tmp_path):
    one = np.ones(1, np.int64)
    trace = SessionTrace(
        split=np.zeros(1, np.int8),
        start_s=np.zeros(1),
        first_call=np.array([0, 1]),
        prompt_tokens=np.array([MAX_TOKENS + 1], np.int32),
        output_tokens=one.astype(np.int32),
        reusable_tokens=np.zeros(1, np.int32),
        conversation=np.zeros(1, np.int32),
        begins_turn=np.ones(1, np.int8),
        group=np.full(1, -1, np.int32),
        group_tokens=np.empty(0, np.int32),
        wait_s=np.zeros(1),
        service_s=np.zeros(1),
        caller=np.empty(0, np.int64),
        waiter=np.empty(0, np.int64),
    )
    write_sessions(trace, tmp_path / "long.npz")
    with pytest.raises(SpecError, match=r"long\.npz: prompt_tokens: must be 1 to 100,000,000 tokens \(row 0 has"):
        read_sessions(tmp_path / "long.npz")


def test_a_length_distribution_cannot_promise_more_than_the_bound():
    with pytest.raises(SpecError, match=r"max_tokens: .*100000000.*3000000000"):
        TokenLengthSpec.parse({"median_tokens": 1e9, "sigma": 2.0, "max_tokens": 3_000_000_000})
    longest = TokenLengthSpec.parse({"median_tokens": 1e30, "sigma": 0.0, "max_tokens": MAX_TOKENS})
    assert longest.sample(np.random.default_rng(0), 3).tolist() == [MAX_TOKENS] * 3
