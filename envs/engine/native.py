"""The native engine: the events of the reference, by exact jumps, in C++ (`cpp/`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog, RequestStatus, _native
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
from tokenfleet.envs.engine.ties import TIE_S
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.future import Future
from tokenfleet.envs.layers.gpu.clock import HALLEY_STEPS, LEAST_SLOPE, LOWEST_CLOCK_FRACTION
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import Quantity, neutral_arrays, quantities_of
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import DEFAULTS, NONE, RequestTable
from tokenfleet.envs.traces.columns import differs

CLIENT_COLUMNS = tuple(name for name in DEFAULTS if name not in ("class_id", "context_age_s"))
"""Columns of a request table about clients: all that may be left at a default but the class and the age of contexts.
Every request has a class, and only the drawing of contexts reads their age."""
CONTROLS = {control.name: control for control in quantities_of(Controls)}
_controls_of: Callable[[Controls], tuple[Any, ...]] = attrgetter(*_native.CONTROLS)
SERIES = {series.name: series for series in quantities_of(Episode)}
UNREAD = frozenset({"price_usd_per_mwh", "carbon_g_per_kwh"})
"""Series of an episode that C++ does without."""
COUNTED_COLUMNS = ("session_id", "conversation_id")
"""Columns of a request table with numbers that C++ takes as places in a list."""


@dataclass(frozen=True)
class NativeSnapshot:
    """See `tokenfleet.envs.engine.Snapshot`; `state` is C++'s."""

    arrays: FleetArrays
    state: _native.Snapshot

    @property
    def state_bytes(self) -> int:
        """Memory of the fleet's state with all its requests; what never changes is shared and not counted."""
        return self.state.state_bytes()

    @property
    def live_bytes(self) -> int:
        """The same with the requests under way alone: any other request changes only once it is made."""
        return self.state.live_bytes()


class NativeEngine:
    """N independent fleets in C++; implements `tokenfleet.envs.engine.Engine`.

    C++ holds values against their bounds, which is cheap there; what it refuses is found and told here.

    The GIL is released while a tick runs; `threads` workers share out the fleets, which never changes a result.
    """

    def __init__(self, arrays: FleetArrays, num_envs: int, threads: int = 1) -> None:
        """Allocate the buffers and the fleets."""
        check_fleet(arrays, num_envs, threads)
        self.arrays = arrays
        self.view = Record(arrays.view, np.zeros((num_envs, arrays.view.width), np.float32))
        self.outcome = Record(arrays.outcome, np.zeros((num_envs, arrays.outcome.width)))
        self._num_envs = num_envs
        neutral = neutral_arrays(Controls, {"N": num_envs, **arrays.sizes})
        self._engine = _native.Engine(
            arrays,
            self.view.rows,
            self.outcome.rows,
            min(threads, num_envs),
            [neutral[name] for name in _native.CONTROLS],
            [CONTROLS[name].optional for name in _native.CONTROLS],
            _bounds(CONTROLS, _native.CONTROLS),
            _bounds(SERIES, (*_native.EPISODE_SERIES, "exogenous")),
        )

    def reset(self, index: int, episode: Episode) -> None:
        """See `Engine.reset`."""
        check_index(index, self._num_envs)
        check_episode(self.arrays, episode, checks_bounds_of=UNREAD)
        if not self._engine.reset(index, episode, _client_columns(episode.requests)):
            check_episode(self.arrays, episode)

    def step(self, controls: Controls, moving: NDArray[np.bool_] | None = None) -> None:
        """See `Engine.step`."""
        if moving is not None:
            moving = check_moving(moving, self._num_envs)
        if not self._engine.step(_controls_of(controls), moving):
            check_controls(controls, self.arrays, self._num_envs)
            raise SpecError(["controls: must be arrays of floats"])

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """See `Engine.fork`; threads share out the targets."""
        if self._engine.fork(sources, targets):
            return
        check_forks(sources, targets, self._num_envs)
        changing = [(source, target) for source, target in zip(sources, targets, strict=True) if source != target]
        overwritten = {target for _, target in changing}
        held = {source: self.snapshot(source) for source, _ in changing if source in overwritten}
        free = [(source, target) for source, target in changing if source not in held]
        if free:
            self._engine.fork(*zip(*free, strict=True))
        for source, target in changing:
            if source in held:
                self.restore(target, held[source])

    def snapshot(self, index: int) -> NativeSnapshot:
        """See `Engine.snapshot`."""
        check_index(index, self._num_envs)
        return NativeSnapshot(self.arrays, self._engine.snapshot(index))

    def restore(self, index: int, snapshot: NativeSnapshot) -> None:
        """See `Engine.restore`."""
        check_index(index, self._num_envs)
        check_snapshot(snapshot, NativeSnapshot, self.arrays)
        self._engine.restore(index, snapshot.state)

    def change_future(self, index: int, future: Future) -> None:
        """See `Engine.change_future`; takes time for the episode, not for how long it has lasted."""
        check_index(index, self._num_envs)
        check_episode(self.arrays, future.episode)
        count = self._engine.num_requests(index)
        if len(future.row) != count:
            raise SpecError([f"future: must be of the fleet's episode, of {count} requests (got {len(future.row)})"])
        self._engine.change_future(index, future.episode, _client_columns(future.episode.requests), future.row)

    def thinking(self, index: int) -> NDArray[np.int32]:
        """See `Engine.thinking`."""
        check_index(index, self._num_envs)
        return np.sort(np.array(self._engine.thinking(index), np.int32))

    def request_log(self, index: int) -> RequestLog:
        """See `Engine.request_log`."""
        check_index(index, self._num_envs)
        count = self._engine.num_requests(index)
        times_s = (np.empty(count) for _ in range(3))
        log = RequestLog(np.empty(count, np.int8), np.empty(count, np.int32), *times_s)
        self._engine.request_log(index, log.status, log.replica, log.asked_s, log.first_token_s, log.finished_s)
        return log


def _check_tables() -> None:
    """Compare the names and numbers of the build with the declared ones; a difference means an old build."""
    declared = {
        "COLUMNS": [column.name for column in quantities_of(FleetArrays)],
        "EPISODE_SERIES": [
            name for name in SERIES if name not in UNREAD | {"exogenous"}
        ],  # read apart, for it is float32
        "CONTROLS": list(CONTROLS),
        "CALL_COLUMNS": [*CLIENT_COLUMNS, "successor_start", "successor"],
    }
    constants: dict[str, float] = {
        "NUM_TOKEN_KNOTS": len(TOKEN_KNOTS),
        "LOWEST_CLOCK_FRACTION": LOWEST_CLOCK_FRACTION,
        "HALLEY_STEPS": HALLEY_STEPS,
        "LEAST_SLOPE": LEAST_SLOPE,
        "TIE_S": TIE_S,
        **{status.name: status.value for status in RequestStatus},
    }
    for name in constants.keys() | _native.CONSTANTS.keys():
        here, there = constants.get(name), _native.CONSTANTS.get(name)
        if here != there:
            raise ImportError(f"the native engine was built with {name} = {there}, which is {here} here; build it anew")
    for table, names in declared.items():
        differences = set(names) ^ set(getattr(_native, table))
        if differences:
            raise ImportError(
                f"the native engine and the Python tables differ in {table}: {', '.join(sorted(differences))}; "
                "`make install` builds the engine anew, `envs/engine/cpp/columns.hpp` lists what C++ reads"
            )


_check_tables()


def _bounds(quantities: Mapping[str, Quantity], names: Sequence[str]) -> NDArray[np.float64]:
    """Low and high of each of them, `[len(names), 2]`."""
    return np.array([(quantities[name].low, quantities[name].high) for name in names])


def _client_columns(requests: RequestTable) -> dict[str, NDArray[Any]]:
    """The columns about clients in which requests differ from the default, and those of a closed loop."""
    columns = {
        name: np.ascontiguousarray(getattr(requests, name))
        for name in CLIENT_COLUMNS
        if differs(getattr(requests, name), DEFAULTS[name][1])
    }
    columns |= {name: _dense(columns[name]) for name in COUNTED_COLUMNS if name in columns}
    if requests.is_closed_loop:
        columns |= {"successor_start": requests.successor_start, "successor": requests.successor}
    return columns


def _dense(number: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same grouping with numbers that are not much higher than there are rows: C++ keeps an entry for each."""
    if int(number.max()) <= 4 * len(number):
        return number
    has_one = number != NONE
    dense = np.full_like(number, NONE)
    dense[has_one] = np.unique(number[has_one], return_inverse=True)[1]
    return dense
