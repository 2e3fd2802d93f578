"""Latencies from a request log: TTFT, TPOT and E2E of every request, and their percentiles per class.

A request has a TTFT once its first token came, and TPOT and E2E once its answer was complete. A policy that refuses
late requests therefore looks fast. Read latencies beside SLO attainment: it counts every request that ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog, RequestStatus
from tokenfleet.envs.traces import RequestTable
from tokenfleet.evaluation.metrics import PERCENTILES

Float64Array = NDArray[np.float64]


def request_latencies(log: RequestLog, requests: RequestTable) -> dict[str, Float64Array]:
    """Latencies of every request [s], `[R]` each, NaN where there is none.

    Args:
        log: what became of the requests.
        requests: what they were.

    Returns:
        `ttft` (from when the client first asked to the first token), `tpot` (mean time per output token after the
        first; answers of one token have none) and `e2e` (from when the client first asked to the last token).
    """
    completed = log.status == RequestStatus.COMPLETED
    further_tokens = requests.output_tokens - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot_s = (log.finished_s - log.first_token_s) / further_tokens
    return {
        "ttft": log.first_token_s - log.asked_s,
        "tpot": np.where(completed & (further_tokens > 0), tpot_s, np.nan),
        "e2e": np.where(completed, log.finished_s - log.asked_s, np.nan),
    }


def latency_metrics(log: RequestLog, requests: RequestTable, classes: Sequence[str]) -> dict[str, float]:
    """Percentiles of the latencies, over all requests and per class, as columns of an episode row."""
    latencies = request_latencies(log, requests)
    chosen = {"": np.ones(len(requests), np.bool_)}
    chosen |= {f"/{name}": requests.class_id == index for index, name in enumerate(classes)}
    return {
        f"{kind}_p{percentile}_s{suffix}": value
        for kind, latency_s in latencies.items()
        for suffix, rows in chosen.items()
        for percentile, value in zip(PERCENTILES, _percentiles(latency_s[rows]), strict=True)
    }


def _percentiles(values: Float64Array) -> list[float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return [float("nan")] * len(PERCENTILES)
    return [float(value) for value in np.percentile(known, PERCENTILES)]
