"""Continuous batching on fleets small enough to work out by hand, on both engines."""

import numpy as np
import pytest

from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def test_a_lone_request_takes_prefill_plus_one_iteration_a_token(engine):
    arrays = one_pool()
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([1.0], [100], [5]))).log
    assert log.first_token_s[0] == pytest.approx(1.0 + 0.01 + 0.1)
    assert log.finished_s[0] == pytest.approx(1.0 + 0.11 + 4 * 0.01)


def test_a_newcomer_joins_at_the_next_iteration_boundary(engine):
    """The first decodes from 0.02 on in steps of 10 ms; the second arrives at 0.033 and joins at 0.04."""
    arrays = one_pool()
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.033], [10, 20], [50, 1]))).log
    assert log.first_token_s[1] == pytest.approx(0.04 + 0.01 + 0.02)
    assert log.finished_s[0] == pytest.approx(0.02 + 49 * 0.01 + 0.02)


def test_the_token_budget_cuts_prompts_into_chunks(engine):
    """Budget 64: 64 + 36 tokens; the second prompt uses what the first leaves of the second iteration."""
    arrays = one_pool(token_budget=64)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.001], [100, 20], [1, 1]))).log
    assert log.first_token_s == pytest.approx([0.074 + 0.010 + 0.056, 0.074 + 0.010 + 0.056])


def test_decoding_sequences_take_their_token_of_the_budget_first(engine):
    """One sequence decodes, so a budget of 11 leaves 10 prefill tokens: a prompt of 20 takes two iterations."""
    arrays = one_pool(token_budget=11, max_batch=8)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.025], [10, 20], [100, 1]))).log
    assert log.first_token_s[1] == pytest.approx(0.03 + 2 * 0.02)


def test_the_kv_cache_admits_only_what_it_can_hold_to_the_end(engine):
    """150 tokens of cache hold one request of 100 + 10; the second waits for the first to finish."""
    arrays = one_pool(kv_tokens=150)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.001], [100, 100], [10, 10]))).log
    assert log.finished_s[0] == pytest.approx(0.11 + 9 * 0.01)
    assert log.first_token_s[1] == pytest.approx(log.finished_s[0] + 0.11)


def test_a_request_too_long_for_the_kv_cache_is_refused(engine):
    arrays = one_pool(kv_tokens=150)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [141], [10]))).log
    assert log.status[0] == RequestStatus.REFUSED


def test_the_queue_is_first_come_first_served(engine):
    """A short request behind a long one that does not fit waits too."""
    arrays = one_pool(kv_tokens=200)
    requests = RequestTable.of([0.0, 0.001, 0.002], [100, 150, 10], [10, 10, 10])
    log = run(engine, arrays, plain_episode(arrays, requests)).log
    assert log.first_token_s[2] >= log.first_token_s[1]


def test_seats_bound_the_batch(engine):
    arrays = one_pool(max_batch=1)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [10, 10], [5, 5]))).log
    assert log.first_token_s[1] == pytest.approx(log.finished_s[0] + 0.02)


def test_a_request_whose_patience_has_run_out_leaves_the_queue(engine):
    arrays = one_pool(max_batch=1, patience_s=1.0)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.1], [10, 10], [300, 5]))).log
    assert log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.EXPIRED]
    assert log.finished_s[1] == pytest.approx(log.finished_s[0])


def test_context_makes_decoding_slower_token_by_token(engine):
    """context_s = 1e-5 and a prompt of 100: step i reads 100 + 1 + i tokens."""
    arrays = one_pool(context_s=1e-5)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [100], [4]))).log
    assert log.finished_s[0] == pytest.approx(0.11 + 3 * 0.01 + 1e-5 * (101 + 102 + 103))


def test_prefill_attention_counts_pairs_over_chunks(engine):
    """Pairs of 100 tokens in chunks of 60 and 40 are those of 100 tokens at once: 5050."""
    arrays = one_pool(prefill_attention_s=1e-6, token_budget=60, max_batch=60)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [100], [1]))).log
    assert log.first_token_s[0] == pytest.approx(2 * 0.01 + 0.1 + 5050e-6)


def test_the_router_picks_the_replica_with_the_least_work(engine):
    arrays = one_pool(replicas=2)
    requests = RequestTable.of([0.0, 0.001, 0.002], [1000, 10, 10], [1, 100, 1])
    log = run(engine, arrays, plain_episode(arrays, requests)).log
    assert log.replica.tolist() == [0, 1, 1]


def test_slo_is_judged_on_first_token_and_pace(engine):
    """TTFT 20 ms, then 10 ms a token: a limit of 21 ms and 11 ms holds, 19 ms or 9 ms does not."""
    for ttft_s, tpot_s, kept in ((0.021, 0.011, 1), (0.019, 0.011, 0), (0.021, 0.009, 0)):
        arrays = one_pool(ttft_s=ttft_s, tpot_s=tpot_s)
        result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [10], [5])))
        assert result.total("completed_in_slo") == kept
        assert result.total("completed_late") == 1 - kept
        assert np.isfinite(result.log.finished_s[0])
