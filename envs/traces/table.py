"""Requests as columns of equal length, sorted by arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.quantities import distinct
from tokenfleet.envs.spec import MAX_TOKENS, SpecError

FloatColumn = NDArray[np.float64]
IntColumn = NDArray[np.int32]
LongColumn = NDArray[np.int64]

NONE = -1
"""The conversation, group or session of a request that has none."""
DEFAULTS: dict[str, tuple[type, float]] = {
    "class_id": (np.int32, 0),
    "region_id": (np.int32, 0),
    "conversation_id": (np.int32, NONE),
    "reusable_tokens": (np.int32, 0),
    "context_age_s": (np.float64, np.inf),
    "group_id": (np.int32, NONE),
    "group_tokens": (np.int32, 0),
    "session_id": (np.int32, NONE),
    "wait_s": (np.float64, 0.0),
    "predecessors": (np.int32, 0),
    "retry_uniform": (np.float64, 0.5),
    "price_tolerance": (np.float64, np.inf),
}
"""Column -> its type, and the value that makes a request an independent one of an open loop."""
_CELLS = {name: np.array(value, dtype).tobytes() for name, (dtype, value) in DEFAULTS.items()}
"""Column -> that value as it stands in memory."""
TYPES: dict[str, type] = {
    "arrival_s": np.float64,
    "prompt_tokens": np.int32,
    "output_tokens": np.int32,
    **{name: dtype for name, (dtype, _) in DEFAULTS.items()},
}
_HIGHEST_INDEX = np.iinfo(np.int32).max - 1
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("class_id", "region_id", "predecessors"), (0, _HIGHEST_INDEX)),
    **dict.fromkeys(("conversation_id", "group_id", "session_id"), (NONE, _HIGHEST_INDEX)),
    **dict.fromkeys(("reusable_tokens", "group_tokens"), (0, MAX_TOKENS)),
    **dict.fromkeys(("wait_s", "context_age_s", "price_tolerance"), (0.0, np.inf)),
    "retry_uniform": (0.0, 1.0),
}
"""Column -> its lowest and highest value; NaN is outside of all of them."""
NUMBERED = ("conversation_id", "group_id", "session_id")


@dataclass(frozen=True, eq=False)
class RequestTable:
    """What is asked for in an episode, whatever its source; row i is one request (one call of a model).

    Most requests arrive on their own. In a closed loop a call waits for its predecessors: it arrives `wait_s` after
    the last of them has completed, so its own `arrival_s` is infinite. All columns are [R], R the number of requests;
    do not write into them: a column of equal values may be a single number in memory.

    Attributes:
        arrival_s: float64, seconds from the start of the episode, not decreasing; inf for a call that waits.
        prompt_tokens: int32, tokens of the whole prompt, 1 to `MAX_TOKENS`.
        output_tokens: int32, tokens to generate, 1 to `MAX_TOKENS`.
        class_id: int32, index into the scenario's list of classes.
        region_id: int32, index into the scenario's list of regions: where the client is.
        conversation_id: int32, calls that follow each other on one growing context; -1 for none.
        reusable_tokens: int32, leading prompt tokens that equal the conversation's context after its previous call.
        context_age_s: float64, how long before the episode that context was used last, if it was then [s]; else inf.
        group_id: int32, requests whose prompts begin alike (one agent's system prompt and tools); -1 for none.
        group_tokens: int32, length of that common beginning, part of the prompt.
        session_id: int32, calls of one task of one user, which ends when one of them fails for good; -1 for none.
        wait_s: float64, tool or think time between the last predecessor's completion and this call [s].
        predecessors: int32, how many calls must complete before this one is made.
        retry_uniform: float64 in [0, 1), the chance in this request's back-off.
        price_tolerance: float64, highest factor on the token price that its client accepts.
        successor_start: [R + 1] int64, where each request's successors begin in `successor`.
        successor: [E] int32, rows of the calls that wait for it.

    Raises:
        SpecError: a column has the wrong shape, type or order, or the waiting does not add up.

    >>> table = RequestTable.of(arrival_s=[0.0, 1.5], prompt_tokens=[100, 200], output_tokens=[10, 20])
    >>> len(table), table.class_id.tolist()
    (2, [0, 0])
    >>> RequestTable.of([0.0, np.inf], [9, 9], [1, 1], predecessors=[0, 1], edges=[(0, 1)]).successors(0).tolist()
    [1]
    """

    arrival_s: FloatColumn  # [R] s
    prompt_tokens: IntColumn  # [R] tokens
    output_tokens: IntColumn  # [R] tokens
    class_id: IntColumn  # [R] index
    region_id: IntColumn  # [R] index
    conversation_id: IntColumn  # [R] index
    reusable_tokens: IntColumn  # [R] tokens
    context_age_s: FloatColumn  # [R] s
    group_id: IntColumn  # [R] index
    group_tokens: IntColumn  # [R] tokens
    session_id: IntColumn  # [R] index
    wait_s: FloatColumn  # [R] s
    predecessors: IntColumn  # [R] requests
    retry_uniform: FloatColumn  # [R]
    price_tolerance: FloatColumn  # [R]
    successor_start: LongColumn  # [R + 1]
    successor: IntColumn  # [E]

    def __post_init__(self) -> None:
        _check_columns(self, TYPES)
        if problems := [*_check_graph(self), *_check_clients(self)]:
            raise SpecError(problems)

    def __len__(self) -> int:
        return int(self.arrival_s.shape[0])

    @classmethod
    def of(
        cls,
        arrival_s: Sequence[float] | FloatColumn,
        prompt_tokens: Sequence[int] | IntColumn,
        output_tokens: Sequence[int] | IntColumn,
        class_id: int | Sequence[int] | IntColumn = 0,
        edges: Sequence[tuple[int, int]] | NDArray[np.integer[Any]] = (),
        **columns: Any,
    ) -> RequestTable:
        """Build from anything array-like, converting types.

        Args:
            arrival_s: see the class.
            prompt_tokens: see the class.
            output_tokens: see the class.
            class_id: one for each request, or a single one for all.
            edges: pairs (call, call that waits for it), in any order.
            **columns: any other column by name, each entry or a single value; `DEFAULTS` where missing.
        """
        arrivals = np.ascontiguousarray(arrival_s, dtype=np.float64)
        given = {"class_id": class_id, **columns}
        values: dict[str, Any] = {
            name: np.broadcast_to(np.asarray(given.pop(name), dtype=dtype), arrivals.shape)
            if name in given
            else np.ndarray(arrivals.shape, dtype, _CELLS[name], strides=(0,))
            for name, (dtype, _) in DEFAULTS.items()
        }
        if given:
            raise TypeError(f"unknown columns {sorted(given)}")
        start, successor = _compressed(np.asarray(edges, dtype=np.int64).reshape(-1, 2), len(arrivals))
        return cls(
            arrival_s=arrivals,
            prompt_tokens=_token_column("prompt_tokens", prompt_tokens),
            output_tokens=_token_column("output_tokens", output_tokens),
            successor_start=start,
            successor=successor,
            **values,
        )

    @classmethod
    def empty(cls) -> RequestTable:
        """A table of no requests."""
        return cls.of([], [], [])

    @property
    def is_closed_loop(self) -> bool:
        """Whether any call waits for another."""
        return len(self.successor) > 0

    def successors(self, row: int) -> IntColumn:
        """Rows of the calls that wait for a request."""
        return self.successor[self.successor_start[row] : self.successor_start[row + 1]]


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


def arrival_order(arrival_s: FloatColumn) -> NDArray[np.intp]:
    """Rows in order of arrival, `[R]`; requests that arrive together keep their order.

    A stable sort in two passes: by slot of time, which takes time linear in R, and then what is left inside the slots.
    Arrivals that are not drawn in order are sorted three times as fast as in one pass.

    >>> arrival_order(np.array([3.0, np.inf, 1.0, 3.0])).tolist()
    [2, 0, 3, 1]
    """
    last_s = np.maximum.reduce(arrival_s, initial=1.0)
    if last_s == np.inf:
        last_s = np.maximum.reduce(arrival_s, initial=1.0, where=arrival_s < np.inf)
    slot = np.fmin(arrival_s * (np.iinfo(np.uint16).max / last_s), np.iinfo(np.uint16).max)
    roughly = slot.astype(np.uint16).argsort(kind="stable")
    order: NDArray[np.intp] = roughly.take(arrival_s.take(roughly).argsort(kind="stable"))
    return order


def _compressed(edges: LongColumn, rows: int) -> tuple[LongColumn, IntColumn]:
    """Edges as `successor_start` and `successor`, each request's successors in order of their rows."""
    if not len(edges):
        return np.broadcast_to(np.int64(0), (rows + 1,)), np.empty(0, np.int32)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    count = np.bincount(edges[:, 0], minlength=rows)
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int64), edges[order, 1].astype(np.int32)


def _token_column(name: str, tokens: Sequence[int] | IntColumn) -> IntColumn:
    """As int32, in which a number that is too high must not become a low one."""
    column = np.asarray(tokens)
    if column.dtype != np.int32 and column.size and not column.max() <= MAX_TOKENS:
        raise SpecError([_token_problem(name, column.max())])
    return np.ascontiguousarray(column, dtype=np.int32)


def _token_problem(name: str, got: Any) -> str:
    return f"requests.{name}: must be 1 to {MAX_TOKENS:,} (got {got})"


def _check_columns(table: RequestTable | Trace, dtypes: dict[str, type]) -> None:
    """Refuse columns that an engine could misread; one line per mistake."""
    problems, wanted = [], np.shape(table.arrival_s)
    for name, dtype in dtypes.items():
        column = getattr(table, name)
        if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != dtype:
            got = f"{getattr(column, 'dtype', type(column).__name__)} of shape {np.shape(column)}"
            problems.append(f"requests.{name}: must be a 1-D {np.dtype(dtype).name} array (got {got})")
        elif column.shape != wanted:
            problems.append(f"requests.{name}: must be as long as arrival_s, {wanted[0]} (got {column.shape[0]})")
    if not problems:
        problems = _check_values(table)
    if problems:
        raise SpecError(problems)


def _check_values(table: RequestTable | Trace) -> list[str]:
    problems = []
    nobody = np.broadcast_to(np.int32(0), len(table))
    predecessors = table.predecessors if isinstance(table, RequestTable) else nobody
    some_wait = bool((distinct(predecessors) > 0).any())
    waits = predecessors > 0 if some_wait else np.broadcast_to(np.False_, len(table))
    arrival_s = table.arrival_s[~waits] if some_wait else table.arrival_s
    if not _is_in_order(arrival_s):
        numbers = np.isfinite(arrival_s) & (arrival_s >= 0)
        if not numbers.all():
            bad = float(arrival_s[~numbers][0])
            problems.append(f"requests.arrival_s: must be finite and not negative (got {bad!r})")
        else:
            row = int(np.flatnonzero(~waits)[int(np.argmax(arrival_s[1:] < arrival_s[:-1])) + 1])
            problems.append(f"requests.arrival_s: must not decrease (row {row} has {float(table.arrival_s[row])!r})")
    elif some_wait and not (np.isposinf(table.arrival_s[waits]).all() and waits[int(np.argmax(waits)) :].all()):
        problems.append(
            "requests.arrival_s: a call with predecessors must have inf and stand behind all that have none"
        )
    for name in ("prompt_tokens", "output_tokens"):
        column = getattr(table, name)
        if len(column) and (lowest := int(column.min())) < 1:
            problems.append(_token_problem(name, lowest))
        if len(column) and (highest := int(column.max())) > MAX_TOKENS:
            problems.append(_token_problem(name, highest))
    return problems


def _is_in_order(arrival_s: FloatColumn) -> bool:
    """Whether times are finite, not negative and do not decrease."""
    ends_s = arrival_s[[0, -1]] if len(arrival_s) else np.zeros(2)
    return bool(ends_s[0] >= 0.0 and ends_s[1] < np.inf and (arrival_s[1:] >= arrival_s[:-1]).all())


def _check_clients(table: RequestTable) -> list[str]:
    """What is wrong with the columns that have defaults; those that are a single number in memory are read as one."""
    problems = []
    for name, (low, high) in _BOUNDS.items() if len(table) else ():
        column = distinct(getattr(table, name))
        lowest, highest = (column[0], column[0]) if len(column) == 1 else (column.min(), column.max())
        if not (low <= lowest and highest <= high):
            bad = column[~((column >= low) & (column <= high))][0]
            allowed = f"{low:g} or more" if high >= _HIGHEST_INDEX else f"{low:g} to {high:g}"
            problems.append(f"requests.{name}: must be {allowed} (got {bad})")
    for name in ("reusable_tokens", "group_tokens"):
        column = getattr(table, name)
        if column.strides != (0,) and (beyond := column > table.prompt_tokens).any():
            row = int(np.argmax(beyond))
            got = f"row {row} has {column[row]} of {table.prompt_tokens[row]}"
            problems.append(f"requests.{name}: must be part of the prompt ({got})")
    return problems


def _check_graph(table: RequestTable) -> list[str]:
    start, successor, rows = table.successor_start, table.successor, len(table)
    if start.dtype != np.int64 or successor.dtype != np.int32 or start.shape != (rows + 1,):
        return [f"requests.successor_start: must be int64 [R + 1], successor int32 (got {start.dtype} {start.shape})"]
    single_numbers = start.strides == table.predecessors.strides == (0,)
    if single_numbers and not (len(successor) or start[0] or table.predecessors[:1].any()):
        return []  # nobody waits for anybody
    if start[0] != 0 or start[-1] != len(successor) or (start[1:] < start[:-1]).any():
        return ["requests.successor_start: must rise from 0 to the length of successor"]
    if len(successor) and (int(successor.min()) < 0 or int(successor.max()) >= rows):
        return [f"requests.successor: must be rows of the table, 0 to {rows - 1}"]
    waiting_for = np.bincount(successor, minlength=rows)
    if (waiting_for != table.predecessors).any():
        row = int(np.argmax(waiting_for != table.predecessors))
        waits = f"waits for {int(waiting_for[row])}, predecessors says {int(table.predecessors[row])}"
        return [f"requests.predecessors: must count who names the row as successor (row {row} {waits})"]
    return []
