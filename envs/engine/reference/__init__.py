"""The executable specification: plain Python, one iteration at a time. Change physics here first.

| module | subject |
|---|---|
| `fleet` | what happens in a tick, in which order; begin here |
| `request`, `replica`, `limits`, `queue`, `prefix_cache` | continuous batching on one replica |
| `activity`, `stopwatch`, `earliest` | what a replica is doing, when that ends, and which iteration ends first |
| `layers.llm.iteration`, elsewhere | what an iteration takes |
| `clients`, `endings`, `overdue`, `billing` | who calls when, what came of it or can no longer come, what it costs |
| `admission`, `router`, `journeys`, `kv_moves` | who is let in, which replica, the way there, KV cache that moves |
| `power_states`, `clocks`, `pool_meter` | boards that sleep, models and clocks, what pools have drawn |
| `power_delivery`, `power_node`, `meter`, `delay_line` | caps, brakes and breakers |
| `site_supply`, `battery`, `room`, `training` | sun, battery, the air at the servers, training jobs beside them |
| `power_charges`, `programme`, `regulation`, `agreements` | what power costs and earns beyond energy; credits |
| `view` | what the policy sees |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.checks import (
    check_controls,
    check_episode,
    check_fleet,
    check_forks,
    check_index,
    check_moving,
    check_snapshot,
)
from tokenfleet.envs.engine.reference.fleet import Fleet
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.future import Future
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record


@dataclass(frozen=True)
class ReferenceSnapshot:
    """See `tokenfleet.envs.engine.Snapshot`; `fleet` stands still."""

    arrays: FleetArrays
    fleet: Fleet


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
        self._fleets[index] = Fleet(self.arrays, episode, *self._records(index))

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

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """See `Engine.fork`."""
        check_forks(sources, targets, self._num_envs)
        held = [self.snapshot(source) for source in sources]
        for target, snapshot in zip(targets, held, strict=True):
            self.restore(target, snapshot)

    def snapshot(self, index: int) -> ReferenceSnapshot:
        """See `Engine.snapshot`."""
        check_index(index, self._num_envs)
        fleet = self._fleet(index)
        blank = (Record(record.layout, np.empty_like(record.rows[:1])) for record in (self.view, self.outcome))
        return ReferenceSnapshot(self.arrays, fleet.copy(*blank))

    def restore(self, index: int, snapshot: ReferenceSnapshot) -> None:
        """See `Engine.restore`."""
        check_index(index, self._num_envs)
        check_snapshot(snapshot, ReferenceSnapshot, self.arrays)
        self._fleets[index] = snapshot.fleet.copy(*self._records(index))

    def change_future(self, index: int, future: Future) -> None:
        """See `Engine.change_future`; the fleet runs the other episode up to now."""
        check_index(index, self._num_envs)
        check_episode(self.arrays, future.episode)
        past = self._fleet(index).past
        fleet = Fleet(self.arrays, future.episode, *self._records(index))
        for controls in past:
            fleet.step(controls)
        self._fleets[index] = fleet

    def thinking(self, index: int) -> NDArray[np.int32]:
        """See `Engine.thinking`."""
        check_index(index, self._num_envs)
        return np.array(self._fleet(index).clients.thought_of(), np.int32)

    def request_log(self, index: int) -> RequestLog:
        """See `Engine.request_log`."""
        check_index(index, len(self._fleets))
        log = self._fleet(index).log
        return RequestLog(**{name: values.copy() for name, values in vars(log).items()})

    def _records(self, index: int) -> tuple[Record, Record]:
        """The rows that fleet `index` writes."""
        row = slice(index, index + 1)
        return Record(self.view.layout, self.view.rows[row]), Record(self.outcome.layout, self.outcome.rows[row])

    def _fleet(self, index: int) -> Fleet:
        fleet = self._fleets[index]
        if fleet is None:
            raise RuntimeError(f"fleet {index} was never reset")
        return fleet
