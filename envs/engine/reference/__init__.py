"""The executable specification: plain Python, one iteration at a time. Change physics here first.

| module | subject |
|---|---|
| `fleet` | what happens in a tick, in which order; begin here |
| `request`, `replica`, `stopwatch`, `prefix_cache` | continuous batching on one replica |
| `layers.llm.iteration`, elsewhere | what an iteration takes |
| `clients`, `endings`, `billing` | who calls when, what came of it, what it costs |
| `admission`, `router`, `kv_moves`, `ties` | who is let in, the way to a replica, KV cache that moves |
| `power_states`, `power_delivery`, `power_node`, `site_supply`, `battery`, `room`, `delay_line` | power and heat |
| `view` | what the policy sees |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.door import check_controls, check_episode, check_fleet, check_index, check_moving
from tokenfleet.envs.engine.reference.fleet import Fleet
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import Record
from tokenfleet.envs.layers.scheduling import Controls


class ReferenceEngine:
    """N independent `Fleet`s; implements `tokenfleet.envs.engine.Engine`."""

    def __init__(self, arrays: FleetArrays, num_envs: int, threads: int = 1) -> None:
        """Allocate the buffers; `threads` is accepted for symmetry and not used."""
        check_fleet(arrays, num_envs, threads)
        self.arrays = arrays
        self._num_envs = num_envs
        self.view = Record(arrays.view, np.zeros((num_envs, arrays.view.width), np.float32))
        self.outcome = Record(arrays.outcome, np.zeros((num_envs, arrays.outcome.width)))
        self._fleets: list[Fleet | None] = [None] * num_envs

    def reset(self, index: int, episode: Episode) -> None:
        """See `Engine.reset`."""
        check_index(index, len(self._fleets))
        check_episode(self.arrays, episode)
        row = slice(index, index + 1)
        self._fleets[index] = Fleet(
            self.arrays,
            episode,
            Record(self.view.layout, self.view.rows[row]),
            Record(self.outcome.layout, self.outcome.rows[row]),
        )

    def step(self, controls: Controls, moving: NDArray[np.bool_] | None = None) -> None:
        """See `Engine.step`."""
        moves = np.ones(self._num_envs, np.bool_) if moving is None else check_moving(moving, self._num_envs)
        check_controls(controls, self.arrays, self._num_envs)
        for index in range(len(self._fleets)):
            if self._fleet(index).tick >= self.arrays.horizon_ticks and moves[index]:
                raise IndexError("the episode is over: reset first")
        complete = controls.complete(self.arrays.sizes)
        for index in range(len(self._fleets)):
            if moves[index]:
                self._fleet(index).step(complete[index])
        self.outcome.rows[~moves] = 0.0

    def request_log(self, index: int) -> RequestLog:
        """See `Engine.request_log`."""
        check_index(index, len(self._fleets))
        return self._fleet(index).log

    def _fleet(self, index: int) -> Fleet:
        fleet = self._fleets[index]
        if fleet is None:
            raise RuntimeError(f"fleet {index} was never reset")
        return fleet
