"""Engines: the same fleet simulated twice, readably and fast.

`reference` is plain Python, iteration by iteration: the executable specification. `native` is C++ and jumps from event
to event. `make_engine` picks one by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.future import Future
from tokenfleet.envs.episode.joined_requests import Present
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import SpecError, suggest

ENGINES = {
    "native": "tokenfleet.envs.engine.native:NativeEngine",
    "reference": "tokenfleet.envs.engine.reference:ReferenceEngine",
}


class RequestStatus(IntEnum):
    """What has become of a request; no request ends in more than one way."""

    PENDING = 0  # has not arrived, is held back, queued or in a batch: in flight at the horizon
    COMPLETED = 1
    REFUSED = 2
    EXPIRED = 3
    DECLINED = 4


@dataclass(frozen=True)
class RequestLog:
    """What became of every request of an episode, in order of arrival, one array entry each.

    Attributes:
        status: a `RequestStatus`, int8.
        replica: index of the replica that took it last, -1 for none, int32.
        asked_s: when its client first asked, from the episode's start; NaN if it never did (a call whose predecessors
            have not completed). Equal to the table's `arrival_s` for a request that waits for nothing.
        first_token_s, finished_s: times at the client; NaN where it did not come to that. `finished_s` is also the time
            at which a request was refused, declined or found expired for the last time.
    """

    status: NDArray[np.int8]
    replica: NDArray[np.int32]
    asked_s: NDArray[np.float64]
    first_token_s: NDArray[np.float64]
    finished_s: NDArray[np.float64]


class Snapshot(Protocol):
    """The whole state of one fleet between two ticks, its rows of `view` and `outcome` included; it never changes."""

    @property
    def arrays(self) -> FleetArrays:
        """The fleet that it is of."""


class Engine(Protocol):
    """N independent fleets that advance one tick at a time."""

    arrays: FleetArrays
    view: Record  # [N, V] float32: what a policy may see after the tick (or the reset)
    outcome: Record  # [N, O] float64: what happened in the tick

    def reset(self, index: int, episode: Episode) -> None:
        """Start `episode` in fleet `index` and write its first view; its outcome row becomes zero.

        Raises:
            SpecError: the episode is of another fleet, or holds what is no number (`checks.check_episode`).
        """

    def step(self, controls: Controls, moving: NDArray[np.bool_] | None = None) -> None:
        """Advance fleets by one tick, and overwrite `view` and `outcome`.

        Args:
            controls: of all fleets.
            moving: which fleets advance, `[N]`; by default all. Nothing happens to the others: their view stays, and
                their outcome is all zero.

        Raises:
            SpecError: a control is of the wrong shape or outside of its bounds; nothing has happened.
            IndexError: the episode of a fleet that should advance is over.
            RuntimeError: a fleet was never reset.
        """

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Let fleet `targets[i]` become an exact copy of fleet `sources[i]` as that is now.

        The call takes time for the requests in the fleet, not for how long the fleet has run. From then on the two run
        apart, and do the same to the last bit under the same controls. A fleet may be a source and a target.

        Raises:
            SpecError: not as many sources as targets, or a fleet that is to become two.
            IndexError: there is no such fleet.
        """

    def snapshot(self, index: int) -> Any:
        """A `Snapshot` of fleet `index`, for `restore` of any engine of the same kind with the same arrays."""

    def restore(self, index: int, snapshot: Any) -> None:
        """Let fleet `index` become an exact copy of what the snapshot shows, as often as one likes.

        Raises:
            SpecError: the snapshot is of another engine, or of another fleet.
        """

    def change_future(self, index: int, future: Future) -> None:
        """Let fleet `index` go on in another episode that agrees with its own up to now.

        The fleet becomes one that had run the other episode from its start under the same controls.

        Raises:
            SpecError: the episode is of another fleet.
        """

    def thinking(self, index: int) -> NDArray[np.int32]:
        """Rows of the calls that clients of fleet `index` make next, after an unknown think time, `[calls]`."""

    def request_log(self, index: int) -> RequestLog:
        """What has become of the requests of fleet `index` so far."""


def present_of(engine: Engine, index: int, tick: int) -> Present:
    """How far the episode of fleet `index`, whose next tick is `tick`, has come."""
    log = engine.request_log(index)
    lost = (log.status != RequestStatus.PENDING) & (log.status != RequestStatus.COMPLETED)
    return Present(tick, np.isfinite(log.asked_s), lost, log.finished_s.copy(), engine.thinking(index))


def make_engine(name: str, arrays: FleetArrays, num_envs: int, threads: int = 1) -> Engine:
    """An engine for `num_envs` fleets.

    Args:
        name: `"native"` or `"reference"`.
        arrays: the fleet.
        num_envs: N.
        threads: worker threads inside the native engine; results do not depend on it.

    Raises:
        SpecError: unknown name.
    """
    if name not in ENGINES:
        raise SpecError([f"engine: unknown engine {name!r}{suggest(name, ENGINES)}"])
    module, _, cls = ENGINES[name].partition(":")
    build: Any = getattr(importlib.import_module(module), cls)
    return cast(Engine, build(arrays, num_envs, threads))
