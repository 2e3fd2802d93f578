"""Latencies of a log that was written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.known_answers import TINY, Constant
from tokenfleet.envs.engine import RequestLog, RequestStatus
from tokenfleet.envs.traces import RequestTable
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.latency import latency_metrics, request_latencies

NAN = np.nan
REQUESTS = RequestTable.of(
    arrival_s=[0.0, 1.0, 2.0, 3.0, 4.0],
    prompt_tokens=[10, 10, 10, 10, 10],
    output_tokens=[5, 1, 3, 3, 3],
    class_id=[0, 0, 0, 1, 1],
)
LOG = RequestLog(
    status=np.array(
        [
            RequestStatus.COMPLETED,
            RequestStatus.COMPLETED,
            RequestStatus.PENDING,
            RequestStatus.REFUSED,
            RequestStatus.EXPIRED,
        ],
        np.int8,
    ),
    replica=np.array([0, 0, 0, -1, 0], np.int32),
    asked_s=np.array([0.0, 1.0, 2.0, 3.0, 4.0]),
    first_token_s=np.array([0.5, 1.25, 2.1, NAN, NAN]),
    finished_s=np.array([2.5, 1.25, NAN, 3.0, 9.0]),
)


def test_each_latency_counts_the_requests_that_got_so_far() -> None:
    latencies = request_latencies(LOG, REQUESTS)
    # The third is still decoding; the fourth and fifth were lost, and their `finished_s` is when that was found.
    np.testing.assert_allclose(latencies["ttft"], [0.5, 0.25, 0.1, NAN, NAN])
    np.testing.assert_allclose(latencies["tpot"], [2.0 / 4, NAN, NAN, NAN, NAN])
    np.testing.assert_allclose(latencies["e2e"], [2.5, 0.25, NAN, NAN, NAN])


def test_percentiles_per_class_and_over_all() -> None:
    metrics = latency_metrics(LOG, REQUESTS, ["chat", "batch"])
    assert metrics["ttft_p50_s/chat"] == pytest.approx(0.25)
    assert metrics["ttft_p95_s/chat"] == pytest.approx(0.25 + 0.9 * 0.25)
    assert metrics["e2e_p99_s"] == pytest.approx(0.25 + 0.99 * 2.25)
    assert metrics["tpot_p50_s/chat"] == pytest.approx(0.5)
    assert np.isnan(metrics["ttft_p50_s/batch"])
    assert len(metrics) == 3 * 3 * 3


def test_an_episode_without_requests_has_no_latencies() -> None:
    empty = RequestLog(np.empty(0, np.int8), np.empty(0, np.int32), np.empty(0), np.empty(0), np.empty(0))
    assert all(np.isnan(value) for value in latency_metrics(empty, RequestTable.empty(), ["chat"]).values())


def test_the_engine_and_the_log_agree_on_the_mean_time_to_first_token() -> None:
    env = TINY(2)
    _, info = env.reset(seed=[3, 4])
    while not info["_episode_metrics"].all():
        info = env.step(np.zeros(env.action_space.shape, np.float32))[-1]
    for index in range(2):
        requests = env.episodes[index].requests
        ttft_s = request_latencies(env.request_log(index), requests)["ttft"]
        assert np.nanmean(ttft_s) == pytest.approx(info["episode_metrics"]["ttft_mean_s"][index], rel=1e-9)
    rows = evaluate_policy(TINY, Constant(np.zeros(env.single_action_space.shape, np.float32)), 2, 0)
    for row in rows:
        assert row.metrics["ttft_p50_s"] <= row.metrics["ttft_p95_s"] <= row.metrics["ttft_p99_s"]
        assert row.metrics["ttft_p50_s"] <= row.metrics["e2e_p50_s"]
