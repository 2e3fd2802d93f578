"""Requests as columns of equal length, sorted by arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError

FloatColumn = NDArray[np.float64]
IntColumn = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class RequestTable:
    """What arrives, whatever its source; row i is one request. All arrays are [R], R the number of requests.

    Attributes:
        arrival_s: [R] float64, seconds from the start of the episode, not decreasing.
        prompt_tokens: [R] int32, tokens to prefill, at least 1.
        output_tokens: [R] int32, tokens to generate, at least 1.
        class_id: [R] int32, index into the scenario's list of classes.

    Raises:
        SpecError: a column has the wrong shape, type or order.

    >>> table = RequestTable.of(arrival_s=[0.0, 1.5], prompt_tokens=[100, 200], output_tokens=[10, 20])
    >>> len(table), table.class_id.tolist()
    (2, [0, 0])
    """

    arrival_s: FloatColumn  # [R] s
    prompt_tokens: IntColumn  # [R] tokens
    output_tokens: IntColumn  # [R] tokens
    class_id: IntColumn  # [R] index

    def __post_init__(self) -> None:
        _check_columns(self, {"arrival_s": np.float64, **dict.fromkeys(_INT_COLUMNS, np.int32)})
        if len(self) and int(self.class_id.min()) < 0:
            raise SpecError([f"requests.class_id: must not be negative (got {int(self.class_id.min())})"])

    def __len__(self) -> int:
        return int(self.arrival_s.shape[0])

    @classmethod
    def of(
        cls,
        arrival_s: Sequence[float] | FloatColumn,
        prompt_tokens: Sequence[int] | IntColumn,
        output_tokens: Sequence[int] | IntColumn,
        class_id: int | Sequence[int] | IntColumn = 0,
    ) -> RequestTable:
        """Build from anything array-like, converting types; a single `class_id` serves every request."""
        arrivals = np.ascontiguousarray(arrival_s, dtype=np.float64)
        classes = np.broadcast_to(np.asarray(class_id, dtype=np.int32), arrivals.shape)
        return cls(
            arrival_s=arrivals,
            prompt_tokens=np.ascontiguousarray(prompt_tokens, dtype=np.int32),
            output_tokens=np.ascontiguousarray(output_tokens, dtype=np.int32),
            class_id=np.ascontiguousarray(classes),
        )

    @classmethod
    def empty(cls) -> RequestTable:
        """A table of no requests."""
        return cls.of([], [], [])


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded stream of requests on its own clock, before anyone gives it a class. All arrays are [R].

    Attributes:
        name: what to call it in a report.
        arrival_s: [R] float64, seconds since the first request of the record, not decreasing.
        prompt_tokens: [R] int32, at least 1.
        output_tokens: [R] int32, at least 1.
    """

    name: str
    arrival_s: FloatColumn  # [R] s
    prompt_tokens: IntColumn  # [R] tokens
    output_tokens: IntColumn  # [R] tokens

    def __post_init__(self) -> None:
        _check_columns(self, {"arrival_s": np.float64, "prompt_tokens": np.int32, "output_tokens": np.int32})

    def __len__(self) -> int:
        return int(self.arrival_s.shape[0])

    @property
    def duration_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.arrival_s[-1] - self.arrival_s[0]) if len(self) else 0.0

    @property
    def mean_rate_rps(self) -> float:
        """Requests per second over the whole record."""
        return (len(self) - 1) / self.duration_s if self.duration_s > 0 else 0.0


_INT_COLUMNS = ("prompt_tokens", "output_tokens", "class_id")


def concat_sorted(tables: Sequence[RequestTable]) -> RequestTable:
    """Merge tables by arrival; requests that arrive together keep the order of the tables.

    >>> a = RequestTable.of([0.0, 2.0], [1, 1], [1, 1], class_id=0)
    >>> b = RequestTable.of([0.0, 1.0], [2, 2], [2, 2], class_id=1)
    >>> concat_sorted([a, b]).class_id.tolist()
    [0, 1, 1, 0]
    """
    if not tables:
        return RequestTable.empty()
    if len(tables) == 1:
        return tables[0]
    order = np.argsort(np.concatenate([table.arrival_s for table in tables]), kind="stable")
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables])[order] for name in ("arrival_s", *_INT_COLUMNS)
    }
    return RequestTable(**columns)


def _check_columns(table: RequestTable | Trace, dtypes: dict[str, type]) -> None:
    """Refuse columns that an engine could misread; one line per mistake."""
    problems = []
    for name, dtype in dtypes.items():
        column = getattr(table, name)
        if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != dtype:
            got = f"{getattr(column, 'dtype', type(column).__name__)} of shape {np.shape(column)}"
            problems.append(f"requests.{name}: must be a 1-D {np.dtype(dtype).name} array (got {got})")
        elif column.shape != np.shape(table.arrival_s):
            wanted = np.shape(table.arrival_s)[0]
            problems.append(f"requests.{name}: must be as long as arrival_s, {wanted} (got {column.shape[0]})")
    if not problems:
        problems = _check_values(table)
    if problems:
        raise SpecError(problems)


def _check_values(table: RequestTable | Trace) -> list[str]:
    problems = []
    arrival_s = table.arrival_s
    if not np.isfinite(arrival_s).all() or (arrival_s < 0).any():
        bad = float(arrival_s[~(np.isfinite(arrival_s) & (arrival_s >= 0))][0])
        problems.append(f"requests.arrival_s: must be finite and not negative (got {bad!r})")
    elif (np.diff(arrival_s) < 0).any():
        row = int(np.argmax(np.diff(arrival_s) < 0)) + 1
        problems.append(f"requests.arrival_s: must not decrease (row {row} has {float(arrival_s[row])!r})")
    for name in ("prompt_tokens", "output_tokens"):
        column = getattr(table, name)
        if len(column) and int(column.min()) < 1:
            problems.append(f"requests.{name}: must be at least 1 (got {int(column.min())})")
    return problems
