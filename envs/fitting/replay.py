"""Run given requests through the engine on one replica: what whole runs and logs of requests are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import ITERATION, FleetArrays
from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.llm import ProfileSpec
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable

TICK_S = 60.0
DRAIN_TICKS = 30
"""Of an episode, after the last arrival; a slow replica gets four times as many, and again."""
MOST_TICKS = 2000
"""An episode that had as many ticks to drain is not tried with more."""
Tokens = NDArray[Any]


@dataclass(frozen=True)
class Latencies:
    """Times of every request, in the order of arrival, `[R]` each [s]; tokens are counts."""

    arrival_s: Array
    first_s: Array
    last_s: Array
    output_tokens: NDArray[np.int64]

    @cached_property
    def ttft_s(self) -> Array:
        """Time to the first token, `[R]` [s]."""
        return self.first_s - self.arrival_s

    @cached_property
    def e2e_s(self) -> Array:
        """Time to the last token, `[R]` [s]."""
        return self.last_s - self.arrival_s

    @cached_property
    def tpot_s(self) -> Array:
        """Mean time between tokens, `[R]` [s]; nan for an answer of one."""
        return per_gap_s(self.last_s - self.first_s, self.output_tokens)


def per_gap_s(answering_s: Array, output_tokens: Tokens) -> Array:
    """Mean time between the tokens of each answer, `[R]` [s]; nan for an answer of one.

    >>> per_gap_s(np.array([0.5, 0.5]), np.array([6, 1])).tolist()
    [0.1, nan]
    """
    return np.asarray(answering_s / np.where(output_tokens > 1, output_tokens - 1.0, np.nan))


@dataclass(frozen=True)
class Server:
    """One replica at full clock, without a limit on power, and the requests that it gets.

    Args:
        pool: of the scenario, without its site.
        arrival_s: ascending, `[R]` [s].
        prompt_tokens, output_tokens: `[R]`.
        search_paths: the user's catalogue folders.
    """

    pool: Mapping[str, Any]
    arrival_s: Array
    prompt_tokens: Tokens
    output_tokens: Tokens
    search_paths: tuple[Any, ...] = ()

    def serve(self, profile: ProfileSpec | None = None, drain_ticks: int = DRAIN_TICKS) -> Latencies:
        """What the replica makes of the requests.

        Args:
            profile: of the pool's pair; the catalogue's by default.
            drain_ticks: of an episode, after the last arrival.

        Raises:
            SpecError: a request was not completed, because it does not fit or the replica is too slow by far.
        """
        scenario, arrays, episode = self._setup(drain_ticks)
        if profile is not None:
            (pool,) = scenario.pools.values()
            law = Coefficients.of(pool.gpu_spec, pool.model_spec, profile)
            columns: dict[str, Any] = {name: np.array([getattr(law, name)]) for name in ITERATION}
            arrays = replace(arrays, **columns)
        engine = make_engine("native", arrays, 1)
        engine.reset(0, episode)
        one = np.ones((1, 1))
        controls = Controls(np.ones((1, 1, 1)), one, one, np.inf * one)
        for _ in range(scenario.horizon_ticks):
            engine.step(controls)
        log = engine.request_log(0)
        lost = int(np.isnan(log.finished_s).sum())
        if lost and drain_ticks < MOST_TICKS:
            return self.serve(profile, 4 * drain_ticks)
        if lost:
            raise SpecError([f"{lost} of {len(self.arrival_s)} requests were not completed: the replica is overloaded"])
        return Latencies(self.arrival_s, log.first_token_s, log.finished_s, self.output_tokens.astype(np.int64))

    def _setup(self, drain_ticks: int) -> tuple[Scenario, FleetArrays, Episode]:
        known = self._setups
        if drain_ticks not in known:
            scenario = _one_replica(self.pool, int(self.arrival_s[-1] / TICK_S) + drain_ticks, self.search_paths)
            given = RequestTable.of(self.arrival_s, self.prompt_tokens, self.output_tokens)
            episode = replace(sample_episode(scenario, 0), requests=given)
            known[drain_ticks] = (scenario, FleetArrays.from_scenario(scenario), episode)
        return known[drain_ticks]

    @cached_property
    def _setups(self) -> dict[int, tuple[Scenario, FleetArrays, Episode]]:
        return {}


def _one_replica(pool: Mapping[str, Any], ticks: int, search_paths: tuple[Any, ...]) -> Scenario:
    """A scenario around the pool; its own stream of requests is replaced."""
    length = {"median_tokens": 100, "sigma": 0.0, "max_tokens": 100}
    price = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 1.0}
    stream = {"kind": "poisson", "request_class": "chat", "rate_rps": 1.0, "prompt": length, "output": length}
    scenario = {
        "name": "replay",
        "tick_s": TICK_S,
        "horizon_ticks": ticks,
        "sites": {"site": {"grid": {"cap_fraction": 2.0}}},
        "pools": {"pool": {"site": "site", **pool}},
        "classes": {"chat": {"model": pool["model"], "patience_s": 1e6, **price}},
        "workload": {"chat": stream},
    }
    return load_scenario(scenario, None, list(search_paths))
