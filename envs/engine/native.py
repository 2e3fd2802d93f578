"""The native engine: the events of the reference, by exact jumps, in C++ (`cpp/`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog, _native
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import Record
from tokenfleet.envs.layers.scheduling import Controls, Float64Array
from tokenfleet.envs.traces import DEFAULTS, RequestTable

CLIENT_COLUMNS = (
    *("region_id", "session_id", "predecessors", "wait_s", "retry_uniform", "price_tolerance"),
    *("conversation_id", "reusable_tokens", "group_id", "group_tokens"),
)


class NativeEngine:
    """N independent fleets in C++; implements `tokenfleet.envs.engine.Engine`.

    The GIL is released while a tick runs; `threads` workers share out the fleets, which never changes a result.
    """

    def __init__(self, arrays: FleetArrays, num_envs: int, threads: int = 1) -> None:
        """Allocate the buffers and the fleets."""
        self.arrays = arrays
        self.view = Record(arrays.view, np.zeros((num_envs, arrays.view.width), np.float32))
        self.outcome = Record(arrays.outcome, np.zeros((num_envs, arrays.outcome.width)))
        self._at_rest = np.zeros((num_envs, arrays.num_sites))
        self._balanced = np.ones((num_envs, arrays.num_classes))
        self._list_price = np.ones((num_envs, arrays.num_classes))
        self._is_reset = np.zeros(num_envs, dtype=bool)
        self._all_reset = False
        self._engine = _native.Engine(arrays, self.view.rows, self.outcome.rows, threads)

    def reset(self, index: int, episode: Episode) -> None:
        """See `Engine.reset`."""
        self._check_episode(index, episode)
        self._engine.reset(index, episode, _client_columns(episode.requests))
        self._is_reset[index] = True
        self._all_reset = bool(self._is_reset.all())

    def step(self, controls: Controls) -> None:
        """See `Engine.step`."""
        num_envs, classes, pools = len(self._is_reset), self.arrays.num_classes, self.arrays.num_pools
        if not self._all_reset:
            raise RuntimeError(f"fleet {int(np.argmin(self._is_reset))} was never reset")
        self._engine.step(
            _control(controls.route_share, (num_envs, classes, pools)),
            _control(controls.clock_fraction, (num_envs, pools)),
            _control(controls.awake_fraction, (num_envs, pools)),
            _control(controls.admit_rate_rps, (num_envs, classes)),
            _control_or(self._at_rest, controls.battery_power_w),
            _control_or(self._balanced, controls.prefix_affinity),
            _control_or(self._list_price, controls.token_price_factor),
        )

    def request_log(self, index: int) -> RequestLog:
        """See `Engine.request_log`."""
        count = self._engine.num_requests(index)
        times_s = (np.empty(count) for _ in range(3))
        log = RequestLog(np.empty(count, np.int8), np.empty(count, np.int32), *times_s)
        self._engine.request_log(index, log.status, log.replica, log.asked_s, log.first_token_s, log.finished_s)
        return log

    def _check_episode(self, index: int, episode: Episode) -> None:
        """C++ reads these by shape alone: a wrong one must stop here."""
        horizon, sites = self.arrays.horizon_ticks, self.arrays.num_sites
        exogenous = self.arrays.view.width - self.arrays.view.offsets["cap_w"]
        wanted = {
            **dict.fromkeys(("cap_w", "rating_w", "solar_w", "outdoor_c", "pue"), (horizon, sites)),
            **dict.fromkeys(("row_cap_w", "row_rating_w"), (horizon, self.arrays.num_rows)),
            **dict.fromkeys(("fixed_w", "host_power_factor"), (sites,)),
            "exogenous": (horizon + 1, exogenous),
            "decode_memory_fraction": (self.arrays.num_pools,),
        }
        if not 0 <= index < len(self._is_reset):
            raise IndexError(f"fleet {index} of {len(self._is_reset)}")
        for name, shape in wanted.items():
            if getattr(episode, name).shape != shape:
                raise ValueError(f"episode.{name}: shape {getattr(episode, name).shape}, need {shape}")
        limits: dict[str, tuple[NDArray[Any], int]] = {
            "requests.class_id": (episode.requests.class_id, self.arrays.num_classes),
            "requests.region_id": (episode.requests.region_id, len(self.arrays.network_s)),
            "failures.replica": (episode.failures.replica, int(self.arrays.replicas.sum())),
            "contexts.replica": (episode.contexts.replica, int(self.arrays.replicas.sum())),
            "contexts.row": (episode.contexts.row, len(episode.requests)),
        }
        for name, (values, count) in limits.items():
            column = _distinct(values)
            if len(column) and (int(column.min()) < 0 or int(column.max()) >= count):
                raise ValueError(f"episode.{name}: {int(column.min())}..{int(column.max())}, need 0..{count - 1}")


def _client_columns(requests: RequestTable) -> dict[str, NDArray[Any]]:
    """The columns about clients in which requests differ from the default, and who waits for whom if anyone does."""
    columns = {
        name: np.ascontiguousarray(getattr(requests, name))
        for name in CLIENT_COLUMNS
        if _differs(getattr(requests, name), DEFAULTS[name][1])
    }
    if requests.is_closed_loop:
        columns |= {"successor_start": requests.successor_start, "successor": requests.successor}
    return columns


def _differs(column: NDArray[Any], value: float) -> bool:
    """Whether any entry is not `value`."""
    return bool((_distinct(column) != value).any())


def _distinct(column: NDArray[Any]) -> NDArray[Any]:
    """The column, or its first entry alone where it is a single number in memory."""
    return column[:1] if column.strides == (0,) else column


def _control(values: Float64Array, shape: tuple[int, ...]) -> Float64Array:
    if values.shape != shape:
        raise ValueError(f"controls: shape {values.shape}, need {shape}")
    return np.ascontiguousarray(values, dtype=np.float64)


def _control_or(default: Float64Array, values: Float64Array | None) -> Float64Array:
    return default if values is None else _control(values, default.shape)
