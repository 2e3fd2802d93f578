"""The columns of requests: type, neutral value and bounds of each, and what a table of them must keep to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
"""Columns of numbers that only group requests; merged tables number each column anew."""


def differs(column: NDArray[Any], default: float) -> bool:
    """Whether any entry of a column is not the default; one of equal values may be a single number in memory."""
    if column.strides == (0,):
        return len(column) > 0 and bool(column[0] != default)
    return bool((column != default).any())


def token_column(name: str, tokens: Sequence[int] | IntColumn) -> IntColumn:
    """The column as int32; a number too high for int32 must not turn into a low one."""
    column = np.asarray(tokens)
    if column.dtype != np.int32 and column.size and not column.max() <= MAX_TOKENS:
        raise SpecError([_token_problem(name, column.max())])
    return np.ascontiguousarray(column, dtype=np.int32)


def _token_problem(name: str, got: Any) -> str:
    return f"requests.{name}: must be 1 to {MAX_TOKENS:,} (got {got})"


def check_columns(columns: Mapping[str, Any], dtypes: Mapping[str, type]) -> None:
    """Refuse columns that an engine could misread.

    Raises:
        SpecError: one line per mistake.
    """
    problems, wanted = [], np.shape(columns["arrival_s"])
    for name, dtype in dtypes.items():
        column = columns[name]
        if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != dtype:
            got = f"{getattr(column, 'dtype', type(column).__name__)} of shape {np.shape(column)}"
            problems.append(f"requests.{name}: must be a 1-D {np.dtype(dtype).name} array (got {got})")
        elif column.shape != wanted:
            problems.append(f"requests.{name}: must be as long as arrival_s, {wanted[0]} (got {column.shape[0]})")
    if not problems:
        problems = _value_problems(columns)
    if problems:
        raise SpecError(problems)


def _value_problems(columns: Mapping[str, Any]) -> list[str]:
    problems = []
    every_s = columns["arrival_s"]
    some_wait = "predecessors" in columns and bool((distinct(columns["predecessors"]) > 0).any())
    waits = columns["predecessors"] > 0 if some_wait else np.broadcast_to(np.False_, len(every_s))
    arrival_s = every_s[~waits] if some_wait else every_s
    if not _is_in_order(arrival_s):
        numbers = np.isfinite(arrival_s) & (arrival_s >= 0)
        if not numbers.all():
            bad = float(arrival_s[~numbers][0])
            problems.append(f"requests.arrival_s: must be finite and not negative (got {bad!r})")
        else:
            row = int(np.flatnonzero(~waits)[int(np.argmax(arrival_s[1:] < arrival_s[:-1])) + 1])
            problems.append(f"requests.arrival_s: must not decrease (row {row} has {float(every_s[row])!r})")
    elif some_wait and not (np.isposinf(every_s[waits]).all() and waits[int(np.argmax(waits)) :].all()):
        problems.append(
            "requests.arrival_s: a call with predecessors must have inf and stand behind all that have none"
        )
    for name in ("prompt_tokens", "output_tokens"):
        column = columns[name]
        if len(column) and (lowest := int(column.min())) < 1:
            problems.append(_token_problem(name, lowest))
        if len(column) and (highest := int(column.max())) > MAX_TOKENS:
            problems.append(_token_problem(name, highest))
    return problems


def _is_in_order(arrival_s: FloatColumn) -> bool:
    """Whether times are finite, not negative and do not decrease."""
    ends_s = arrival_s[[0, -1]] if len(arrival_s) else np.zeros(2)
    return bool(ends_s[0] >= 0.0 and ends_s[1] < np.inf and (arrival_s[1:] >= arrival_s[:-1]).all())


def client_problems(columns: Mapping[str, Any]) -> list[str]:
    """Mistakes in the columns with defaults; those that are a single number in memory are read as one."""
    problems = []
    for name, (low, high) in _BOUNDS.items() if len(columns["prompt_tokens"]) else ():
        column = distinct(columns[name])
        lowest, highest = (column[0], column[0]) if len(column) == 1 else (column.min(), column.max())
        if not (low <= lowest and highest <= high):
            bad = column[~((column >= low) & (column <= high))][0]
            allowed = f"{low:g} or more" if high >= _HIGHEST_INDEX else f"{low:g} to {high:g}"
            problems.append(f"requests.{name}: must be {allowed} (got {bad})")
    for name in ("reusable_tokens", "group_tokens"):
        column = columns[name]
        if column.strides != (0,) and (beyond := column > columns["prompt_tokens"]).any():
            row = int(np.argmax(beyond))
            got = f"row {row} has {column[row]} of {columns['prompt_tokens'][row]}"
            problems.append(f"requests.{name}: must be part of the prompt ({got})")
    return problems


def graph_problems(columns: Mapping[str, Any]) -> list[str]:
    """Mistakes in the calls that wait for others."""
    start, successor, predecessors = columns["successor_start"], columns["successor"], columns["predecessors"]
    rows = len(predecessors)
    if start.dtype != np.int64 or successor.dtype != np.int32 or start.shape != (rows + 1,):
        return [f"requests.successor_start: must be int64 [R + 1], successor int32 (got {start.dtype} {start.shape})"]
    single_numbers = start.strides == predecessors.strides == (0,)
    if single_numbers and not (len(successor) or start[0] or predecessors[:1].any()):
        return []  # nobody waits for anybody
    if start[0] != 0 or start[-1] != len(successor) or (start[1:] < start[:-1]).any():
        return ["requests.successor_start: must rise from 0 to the length of successor"]
    if len(successor) and (int(successor.min()) < 0 or int(successor.max()) >= rows):
        return [f"requests.successor: must be rows of the table, 0 to {rows - 1}"]
    waiting_for = np.bincount(successor, minlength=rows)
    if (waiting_for != predecessors).any():
        row = int(np.argmax(waiting_for != predecessors))
        waits = f"waits for {int(waiting_for[row])}, predecessors says {int(predecessors[row])}"
        return [f"requests.predecessors: must count who names the row as successor (row {row} {waits})"]
    return []
