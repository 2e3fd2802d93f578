"""Run given requests through the engine on one replica of the catalogue: what whole runs are compared by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.traces import RequestTable

TICK_S = 60.0
DRAIN_TICKS = 30  # after the last arrival
OWN_BOARD = "own-board"


@dataclass(frozen=True)
class Latencies:
    """Of every request, in the order of arrival [s]."""

    arrival_s: Array
    first_s: Array
    last_s: Array
    output_tokens: NDArray[np.int64]

    @cached_property
    def ttft_s(self) -> Array:
        """Time to the first token."""
        return self.first_s - self.arrival_s

    @cached_property
    def e2e_s(self) -> Array:
        """Time to the last token."""
        return self.last_s - self.arrival_s

    @cached_property
    def tpot_s(self) -> Array:
        """Mean time between tokens; nan for an answer of one."""
        return (self.last_s - self.first_s) / np.where(self.output_tokens > 1, self.output_tokens - 1.0, np.nan)


def replay(pool: dict[str, object], requests: pd.DataFrame, profiled: bool = True) -> Latencies:
    """What one replica at full clock, without a limit on power, makes of the requests.

    Args:
        pool: of the scenario, without its site.
        requests: `arrival_s` in ascending order, `prompt_tokens`, `output_tokens`.
        profiled: whether the pool gets the catalogue's profile; else the same boards by a name of a user's own, for
            which the catalogue has none, run on a roofline.

    Raises:
        RuntimeError: a request was not completed.
    """
    arrival_s, outputs = requests.arrival_s.to_numpy(), requests.output_tokens.to_numpy()
    ticks = int(arrival_s[-1] / TICK_S) + DRAIN_TICKS
    scenario = _one_replica(pool, ticks) if profiled else _unprofiled(pool, ticks)
    given = RequestTable.of(arrival_s, requests.prompt_tokens.to_numpy(), outputs)
    engine = make_engine("native", FleetArrays.from_scenario(scenario), 1)
    engine.reset(0, replace(sample_episode(scenario, 0), requests=given))
    one = np.ones((1, 1))
    controls = Controls(np.ones((1, 1, 1)), one, one, np.inf * one)
    for _ in range(scenario.horizon_ticks):
        engine.step(controls)
    log = engine.request_log(0)
    lost = int(np.isnan(log.finished_s).sum())
    if lost:
        raise RuntimeError(f"{lost} requests were not completed")
    return Latencies(arrival_s, log.first_token_s, log.finished_s, outputs)


def _unprofiled(pool: dict[str, object], ticks: int) -> Scenario:
    """The same world as a user has it whose boards nobody profiled."""
    own = {**load_entry("gpu", str(pool["gpu"])), "name": OWN_BOARD}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gpu" / f"{OWN_BOARD}.yaml"
        path.parent.mkdir()
        path.write_text(json.dumps(own), encoding="utf-8")
        scenario = _one_replica({**pool, "gpu": OWN_BOARD}, ticks, [folder])
        assert scenario.pools["pool"].profile.origin == "roofline"
    return scenario


def _one_replica(pool: dict[str, object], ticks: int, search_paths: Sequence[str] = ()) -> Scenario:
    """A world around the pool; its own stream of requests is replaced."""
    length = {"median_tokens": 100, "sigma": 0.0, "max_tokens": 100}
    price = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 1.0}
    stream = {"kind": "poisson", "request_class": "chat", "rate_rps": 1.0, "prompt": length, "output": length}
    world = {
        "name": "replay",
        "tick_s": TICK_S,
        "horizon_ticks": ticks,
        "sites": {"site": {"grid": {"cap_fraction": 2.0}}},
        "pools": {"pool": {"site": "site", **pool}},
        "classes": {"chat": {"model": pool["model"], "patience_s": 1e6, **price}},
        "workload": {"chat": stream},
    }
    return load_scenario(world, search_paths=search_paths)
