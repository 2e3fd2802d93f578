"""The compiled engine; `tokenfleet.envs.engine.native` documents what it takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode

COLUMNS: tuple[str, ...]
EPISODE_SERIES: tuple[str, ...]
CONTROLS: tuple[str, ...]
CALL_COLUMNS: tuple[str, ...]
CONSTANTS: dict[str, float]

class Snapshot:
    def state_bytes(self) -> int: ...
    def live_bytes(self) -> int: ...

class Engine:
    def __init__(
        self,
        arrays: FleetArrays,
        view: NDArray[np.float32],
        outcome: NDArray[np.float64],
        threads: int,
        neutral: list[NDArray[np.float64]],
        optional: list[bool],
        control_bounds: NDArray[np.float64],
        series_bounds: NDArray[np.float64],
    ) -> None: ...
    def reset(self, index: int, episode: Episode, clients: dict[str, NDArray[Any]], /) -> bool: ...
    def step(self, controls: tuple[NDArray[np.float64] | None, ...], moving: NDArray[np.bool_] | None) -> bool: ...
    def fork(self, sources: Sequence[int], targets: Sequence[int], /) -> bool: ...
    def snapshot(self, index: int, /) -> Snapshot: ...
    def restore(self, index: int, snapshot: Snapshot, /) -> None: ...
    def change_future(
        self, index: int, episode: Episode, clients: dict[str, NDArray[Any]], row: NDArray[np.int32], /
    ) -> None: ...
    def thinking(self, index: int, /) -> list[int]: ...
    def request_log(
        self,
        index: int,
        status: NDArray[np.int8],
        replica: NDArray[np.int32],
        asked_s: NDArray[np.float64],
        first_token_s: NDArray[np.float64],
        finished_s: NDArray[np.float64],
        /,
    ) -> None: ...
    def num_requests(self, index: int, /) -> int: ...
