"""Where queueing theory has a closed form, simulation must agree within its own confidence interval.

One seat a replica and one output token make a request's service a single iteration of fixed_s + token_s * prompt, so a
replica is a single-server queue whose service-time law is the law of the prompt lengths.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.engine.runs import Run, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.traces import RequestTable

REQUESTS = 400_000
BATCHES = 40
Z_999 = 3.29  # two-sided 99.9 %: with fixed seeds the tests are deterministic, this is how wrong they may be


@dataclass(frozen=True)
class Queue:
    """A simulated single-server queue."""

    arrivals: RequestTable
    result: Run
    service_s: np.ndarray

    @property
    def wait_s(self) -> np.ndarray:
        return self.result.log.finished_s - self.arrivals.arrival_s - self.service_s


def simulate(prompt_tokens: np.ndarray, rate_rps: float, seed: int, token_s: float) -> Queue:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1.0 / rate_rps, len(prompt_tokens)))
    arrivals = RequestTable.of(arrival_s, prompt_tokens, np.ones(len(prompt_tokens), np.int32))
    arrays = server(token_s, ticks=int(arrival_s[-1] * 1.05 / 1000.0) + 1)
    result = run("native", arrays, plain_episode(arrays, arrivals))
    assert np.all(result.log.status == 1)
    return Queue(arrivals, result, 1e-9 + token_s * prompt_tokens)


def server(token_s: float, ticks: int) -> FleetArrays:
    return one_pool(
        max_batch=1,
        token_budget=2**31,
        kv_tokens=2**40,
        fixed_s=1e-9,
        token_s=token_s,
        tick_s=1000.0,
        horizon_ticks=ticks,
    )


def assert_mean_is(values: np.ndarray, expected: float) -> None:
    """Batch means: correlated values, nearly independent batches."""
    means = values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    half_width = Z_999 * means.std(ddof=1) / np.sqrt(BATCHES)
    assert half_width < 0.2 * expected, "too few requests to tell"
    assert abs(means.mean() - expected) < half_width


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_m_m_1_mean_wait(utilisation):
    """W = rho / (mu - lambda), service exponential with mean 1 s in steps of 10 microseconds."""
    rng = np.random.default_rng(1)
    prompts = np.ceil(rng.exponential(100_000.0, REQUESTS)).astype(np.int32)
    queue = simulate(prompts, utilisation, seed=2, token_s=1e-5)
    assert_mean_is(queue.wait_s, utilisation / (1.0 - utilisation))


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_m_d_1_mean_wait(utilisation):
    """W = rho / (2 mu (1 - rho)): half of M/M/1."""
    queue = simulate(np.full(REQUESTS, 1000, np.int32), utilisation, seed=3, token_s=1e-3)
    assert_mean_is(queue.wait_s, utilisation / (2.0 * (1.0 - utilisation)))


@pytest.mark.parametrize("utilisation", [0.3, 0.6])
def test_m_g_1_mean_wait(utilisation):
    """Pollaczek-Khinchine, W = lambda E[S^2] / (2 (1 - rho)), for lognormal prompts (squared CV 0.63)."""
    rng = np.random.default_rng(4)
    prompts = np.ceil(rng.lognormal(0.0, 0.7, REQUESTS) * 1e5).astype(np.int32)
    mean_s = 1e-5 * 1e5 * np.exp(0.7**2 / 2)
    second_s2 = np.exp(2 * 0.7**2)
    rate_rps = utilisation / mean_s
    queue = simulate(prompts, rate_rps, seed=5, token_s=1e-5)
    assert_mean_is(queue.wait_s, rate_rps * second_s2 / (2.0 * (1.0 - utilisation)))


@pytest.mark.parametrize("seed", range(3))
def test_littles_law_holds_for_any_batching(seed):
    """Mean number in the system, seen at the ticks, is arrival rate times mean sojourn (here with batches of 16)."""
    rng = np.random.default_rng(seed)
    count, horizon_s = 60_000, 20_000.0
    arrivals = RequestTable.of(
        np.sort(rng.uniform(0, horizon_s, count)),
        np.ceil(rng.lognormal(5, 1, count)).astype(np.int32),
        np.ceil(rng.lognormal(3.5, 0.8, count)).astype(np.int32),
    )
    arrays = one_pool(max_batch=16, token_budget=512, context_s=1e-6, token_s=1e-4, tick_s=0.5, horizon_ticks=40_200)
    result = run("native", arrays, plain_episode(arrays, arrivals))
    sojourn_s = result.log.finished_s - arrivals.arrival_s
    system = (result.views["waiting_requests"] + result.views["running_requests"])[1:40_001, 0]
    assert_mean_is(system, count / horizon_s * sojourn_s.mean())
