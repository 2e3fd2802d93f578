"""Clients, by hand: calls that wait, fan-out and join, retries, sessions that give up, distance, failures.

The pool's iteration lasts 10 ms plus 1 ms a prefill token (`small_fleets.one_pool`), so a call of 90 prompt tokens and
one output token is answered 0.1 s after it reaches an idle replica.
"""

import dataclasses

import numpy as np
import pytest

from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.gpu.failures import FailureTable
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def calls(arrival_s: list[float], **columns: object) -> RequestTable:
    """Calls of 90 prompt tokens and one output token."""
    count = len(arrival_s)
    return RequestTable.of(arrival_s, [90] * count, [1] * count, **columns)


def controls_at(arrays: FleetArrays, admit_rate_rps: float) -> list[Controls]:
    share = np.ones((1, 1, 1))
    ones = np.ones((1, 1))
    return [Controls(share, ones, ones, np.full((1, 1), admit_rate_rps))] * arrays.horizon_ticks


def test_a_call_follows_its_predecessor_after_the_wait(engine):
    arrays = one_pool()
    chain = calls([1.0, np.inf, np.inf], predecessors=[0, 1, 1], edges=[(0, 1), (1, 2)], wait_s=[0.0, 2.0, 0.5])
    log = run(engine, arrays, plain_episode(arrays, chain)).log
    np.testing.assert_allclose(log.asked_s, [1.0, 3.1, 3.7], atol=1e-12)
    np.testing.assert_allclose(log.finished_s, [1.1, 3.2, 3.8], atol=1e-12)


def test_clients_that_think_for_ever_do_not_hold_up_the_others(engine):
    waits_s = [np.inf, np.inf, np.inf, 1.5, 2.5]
    edges = [(0, 1 + follower) for follower in range(5)]
    table = calls([0.0, *[np.inf] * 5], wait_s=[0.0, *waits_s], predecessors=[0, *[1] * 5], edges=edges)
    log = run(engine, one_pool(), plain_episode(one_pool(), table)).log
    assert np.isfinite(log.finished_s).tolist() == [True, False, False, False, True, True]


def test_a_join_waits_for_the_last_branch(engine):
    arrays = one_pool(max_batch=1)
    edges = [(0, 1), (0, 2), (1, 3), (2, 3)]
    fan = calls([0.0, np.inf, np.inf, np.inf], predecessors=[0, 1, 1, 2], edges=edges, wait_s=[0.0, 1.0, 4.0, 1.0])
    log = run(engine, arrays, plain_episode(arrays, fan)).log
    np.testing.assert_allclose(log.asked_s, [0.0, 1.1, 4.1, 5.2], atol=1e-12)


def test_a_join_waits_for_the_answer_that_arrives_last_not_for_the_one_that_was_sent_last(engine):
    """One client is 0.2 s away: its answer leaves the site at 0.3, the other's at 0.4."""
    arrays = dataclasses.replace(one_pool(), network_s=np.array([[0.0], [0.2]]), upload_token_s=np.zeros(2))
    columns = {"predecessors": [0, 0, 2], "edges": [(0, 2), (1, 2)], "region_id": [1, 0, 0]}
    log = run(engine, arrays, plain_episode(arrays, calls([0.0, 0.25, np.inf], **columns))).log
    np.testing.assert_allclose(log.finished_s[:2], [0.5, 0.4], atol=1e-12)
    np.testing.assert_allclose(log.asked_s[2], 0.5, atol=1e-12)


def test_followers_that_fall_into_one_tick_are_served_in_it(engine):
    arrays = one_pool(horizon_ticks=1, tick_s=10.0)
    count = 50
    edges = [(row, row + 1) for row in range(count - 1)]
    chain = calls([0.0, *[np.inf] * (count - 1)], predecessors=[0, *[1] * (count - 1)], edges=edges, wait_s=0.05)
    result = run(engine, arrays, plain_episode(arrays, chain))
    assert result.total("arrived") == count
    np.testing.assert_allclose(result.log.finished_s, 0.1 + 0.15 * np.arange(count), atol=1e-9)


def test_a_refused_call_is_tried_again_after_its_back_off(engine):
    arrays = one_pool(max_attempts=3, backoff_s=2.0, backoff_factor=3.0, backoff_jitter=0.5, horizon_ticks=20)
    refused_until_9 = controls_at(arrays, 0.0)[:9] + controls_at(arrays, np.inf)[9:]
    # The first spends the one request of credit that the bucket begins with.
    result = run(engine, arrays, plain_episode(arrays, calls([0.0, 0.0], retry_uniform=0.75)), refused_until_9)
    # Attempts of the second at 0, at 2 (1 + 0.5 * 0.5) = 2.5, and 7.5 later, when it is admitted.
    assert result.total("retries") == 2
    assert result.total("arrived") == 2
    np.testing.assert_allclose(result.log.asked_s, [0.0, 0.0])
    np.testing.assert_allclose(result.log.finished_s[1], 10.1, atol=1e-12)


def test_the_last_failed_attempt_ends_the_request_and_its_session(engine):
    arrays = one_pool(max_attempts=2, backoff_s=1.0)
    columns = {"predecessors": [0, 0, 1], "edges": [(0, 2)], "wait_s": [0.0, 0.0, 5.0], "session_id": [0, 0, 0]}
    table = calls([0.0, 0.5, np.inf], **columns)
    result = run(engine, arrays, plain_episode(arrays, table), controls_at(arrays, 0.0))
    assert result.log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.REFUSED, RequestStatus.PENDING]
    np.testing.assert_allclose(result.log.finished_s[1], 1.5)
    assert np.isnan(result.log.asked_s[2])  # it would have come at 5.1
    assert result.total("arrived") == 2


def test_distance_delays_the_request_and_its_answer(engine):
    arrays = one_pool(network_s=0.04)
    log = run(engine, arrays, plain_episode(arrays, calls([1.0]))).log
    np.testing.assert_allclose([log.first_token_s[0], log.finished_s[0]], 1.18, atol=1e-12)


def test_a_prompt_takes_its_tokens_over_the_line_of_its_client_and_the_answer_does_not(engine):
    arrays = one_pool(network_s=0.04)
    sent = dataclasses.replace(arrays, upload_token_s=np.array([0.002]))
    table = RequestTable.of([1.0], [100], [1])
    near, far = (run(engine, fleet, plain_episode(fleet, table)).log for fleet in (arrays, sent))
    np.testing.assert_allclose(far.finished_s - near.finished_s, 100 * 0.002, atol=1e-12)


def test_distance_counts_against_the_limits_of_the_client(engine):
    near, far = (one_pool(network_s=s, ttft_s=0.15) for s in (0.01, 0.04))
    assert run(engine, near, plain_episode(near, calls([1.0]))).total("completed_in_slo") == 1
    assert run(engine, far, plain_episode(far, calls([1.0]))).total("completed_late") == 1


def test_a_failure_loses_what_runs_and_a_client_that_tries_again_is_served_after_the_repair(engine):
    arrays = one_pool(max_attempts=4, backoff_s=3.0, backoff_factor=1.0, wake_s=1.0, network_s=0.0)
    slow = RequestTable.of([0.5], [90], [200])  # 0.1 s and 199 iterations of 10 ms
    failure = FailureTable(np.array([1]), np.array([0]), np.array([4.0]))
    episode = dataclasses.replace(plain_episode(arrays, slow), failures=failure)
    result = run(engine, arrays, episode)
    # Lost at 1; tried at 4, refused while waking; tried at 7.
    assert result.total("retries") == 2
    np.testing.assert_allclose(result.log.finished_s, [7.0 + 0.1 + 1.99], atol=1e-9)
    assert result.views["failed_replicas"][:, 0].tolist()[:6] == [0, 0, 1, 1, 1, 0]
    assert result.outcomes["it_energy_j"][2, 0] == 0.0  # a broken replica draws nothing
