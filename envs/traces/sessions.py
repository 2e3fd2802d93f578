"""Recorded sessions: calls of a model that wait for each other, grouped into conversations with a growing context."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import Version, version_of
from tokenfleet.envs.spec import MAX_TOKENS, SpecError
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces.archive import stored_columns
from tokenfleet.envs.traces.columns import FloatColumn, IntColumn


@dataclass(frozen=True, eq=False)
class SessionTrace:
    """N sessions of together R calls; a call is made `wait_s` after the last call that it waits for has completed.

    The calls of a session stand together, in the order in which they were made; so whom a call waits for stands before
    it. Recorded times follow from waits and services, and are not stored.

    Attributes:
        split: `[N]` int8, index into `SPLITS`.
        start_s: `[N]` float64, when the session's first call was made, on a clock of the record; 0 where the record
            has no such clock.
        first_call: `[N + 1]` int64, where each session's calls begin.
        prompt_tokens, output_tokens: `[R]` int32, at least 1.
        reusable_tokens: `[R]` int32, leading prompt tokens that the conversation's previous call had in its context.
        conversation: `[R]` int32, number of the conversation within its session.
        begins_turn: `[R]` int8, 1 where a person asks, 0 where a tool answers or a sub-agent works.
        group: `[R]` int32, index into `group_tokens`; -1 for none.
        group_tokens: `[G]` int32, length of the beginning that all prompts of a group share.
        wait_s: `[R]` float64, tool or think time [s].
        service_s: `[R]` float64, from call to answer as recorded [s].
        caller, waiter: `[E]` int64, rows: `waiter` waits for `caller`; sorted by `waiter`.
    """

    split: NDArray[np.int8]
    start_s: FloatColumn
    first_call: NDArray[np.int64]
    prompt_tokens: IntColumn
    output_tokens: IntColumn
    reusable_tokens: IntColumn
    conversation: IntColumn
    begins_turn: NDArray[np.int8]
    group: IntColumn
    group_tokens: IntColumn
    wait_s: FloatColumn
    service_s: FloatColumn
    caller: NDArray[np.int64]
    waiter: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.split)

    @cached_property
    def session(self) -> NDArray[np.int64]:
        """Session of every call, `[R]`."""
        return np.repeat(np.arange(len(self)), np.diff(self.first_call))

    @cached_property
    def recorded_s(self) -> FloatColumn:
        """When each call was made, from the start of its session, `[R]` [s]; grows within a session."""
        return self._longest_path(self.service_s)

    @cached_property
    def earliest_s(self) -> FloatColumn:
        """When each call would be made if every answer came at once, `[R]` [s]."""
        return self._longest_path(np.zeros(len(self.wait_s)))

    @cached_property
    def previous_call(self) -> NDArray[np.int64]:
        """Row of the call before each in its conversation, `[R]`; -1 for the first."""
        talk = self.session * (int(self.conversation.max(initial=0)) + 1) + self.conversation
        order = np.argsort(talk, kind="stable")
        follows = np.flatnonzero(np.diff(talk[order]) == 0) + 1
        previous = np.full(len(talk), -1, np.int64)
        previous[order[follows]] = order[follows - 1]
        return previous

    @property
    def amounts(self) -> FloatColumn:
        """What splits share alike, `[N, A]`.

        Calls, tokens of prompts, new ones of these, tokens of answers, turns, seconds, 1 for the session itself, and
        its quarter: by calls, and by the share of its time that it waits for answers.
        """
        first = self.first_call[:-1]
        sums = (self.prompt_tokens, self.prompt_tokens - self.reusable_tokens, self.output_tokens, self.begins_turn)
        totals = [np.add.reduceat(column, first, dtype=np.float64) for column in sums]
        lasts_s = np.maximum.reduceat(self.recorded_s, first)
        calls = np.diff(self.first_call).astype(np.float64)
        busy = np.add.reduceat(self.service_s, first) / np.maximum(lasts_s, 1.0)
        quarters = [values > np.quantile(values, p) for values in (calls, busy) for p in (0.25, 0.5, 0.75)]
        return np.stack([calls, *totals, lasts_s, np.ones(len(self)), *quarters], axis=1)

    def offered(self, horizon_s: float) -> FloatColumn:
        """What each session brings to episodes that it is under way in, for each start: `[N, 3]`.

        Calls, and their tokens of prompts and of answers: a session enters an episode with each of its calls, as often
        as its wait is long, and brings the calls that can follow before the horizon.
        """
        first, brought = self.first_call, np.zeros((len(self), 3))
        each = np.stack([np.ones(len(self.wait_s)), self.prompt_tokens, self.output_tokens], axis=1)
        for number in range(len(self)):
            rows = slice(first[number], first[number + 1])
            earliest_s = self.earliest_s[rows]
            gap_s = np.diff(self.recorded_s[rows], prepend=-horizon_s).clip(0.0, horizon_s)[:, None]
            left_s = horizon_s - (earliest_s - earliest_s[:, None])
            brought[number] = (np.clip(np.triu(left_s), 0.0, gap_s) @ each[rows]).sum(axis=0) / horizon_s
        return brought

    def calls_of(self, split: str) -> NDArray[np.int64]:
        """Rows of the calls of a split's sessions, in order, `[calls]`."""
        return np.flatnonzero(self.split[self.session] == SPLITS.index(split))

    def sessions_of(self, split: str) -> NDArray[np.int64]:
        """Rows of a split's sessions, in order, `[sessions]`."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def _longest_path(self, service_s: FloatColumn) -> FloatColumn:
        at_s = self.wait_s.tolist()
        wait_s, service = self.wait_s.tolist(), service_s.tolist()
        for caller, waiter in zip(self.caller.tolist(), self.waiter.tolist(), strict=True):
            at_s[waiter] = max(at_s[waiter], at_s[caller] + service[caller] + wait_s[waiter])
        return np.array(at_s, np.float64)


_STORED: dict[str, type] = {
    "start_s": np.float64,
    "wait_s": np.float32,
    "service_s": np.float32,
    "split": np.int8,
    "begins_turn": np.int8,
}
_LOADED: dict[str, type] = {
    "split": np.int8,
    "begins_turn": np.int8,
    "first_call": np.int64,
    "caller": np.int64,
    "waiter": np.int64,
    "start_s": np.float64,
    "wait_s": np.float64,
    "service_s": np.float64,
}


def write_sessions(trace: SessionTrace, path: Path | str | BinaryIO) -> None:
    """Write the compact `.npz` form, as the catalogue ships it; the same sessions give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for column in fields(SessionTrace):
            values = getattr(trace, column.name).astype(_STORED.get(column.name, np.int32))
            if column.name in _AS_STEPS:
                values = np.diff(values, prepend=values.dtype.type(0))
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{column.name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


_AS_STEPS = ("first_call", "caller", "waiter", "prompt_tokens", "reusable_tokens")
"""Columns stored as differences, which compress to a third."""
_LOWEST_TOKENS = {"prompt_tokens": 1, "output_tokens": 1, "reusable_tokens": 0, "group_tokens": 0}
"""Columns that count tokens, and the fewest of each."""


def read_sessions(path: Path | str) -> SessionTrace:
    """Read what `write_sessions` wrote; the same unchanged file is read once per process.

    Raises:
        SpecError: the file is not such an archive.
    """
    path = Path(path)
    return _read_version(path, version_of(path))


@lru_cache(maxsize=8)
def _read_version(path: Path, version: Version) -> SessionTrace:
    """Read once for each version of the file."""
    columns = stored_columns(path, SessionTrace, "sessions")
    for name, values in columns.items():
        if values.ndim != 1:
            raise SpecError([f"{path}: {name}: must be a row of numbers (got shape {list(values.shape)})"])
        whole = np.cumsum(values, dtype=np.int64) if name in _AS_STEPS else values
        if name in _LOWEST_TOKENS:
            _check_tokens(f"{path}: {name}", whole, _LOWEST_TOKENS[name])
        columns[name] = np.ascontiguousarray(whole, dtype=_LOADED.get(name, np.int32))
        columns[name].flags.writeable = False
    trace = SessionTrace(**columns)
    if problem := _problem(trace):
        raise SpecError([f"{path}: {problem}; write it with tokenfleet.envs.traces.write_sessions"])
    return trace


def _problem(trace: SessionTrace) -> str:
    """What keeps a record from being replayed; empty if nothing does."""
    calls, first = len(trace.prompt_tokens), trace.first_call
    of_calls = ("output_tokens", "reusable_tokens", "conversation", "begins_turn", "group", "wait_s", "service_s")
    shorter = [name for name in of_calls if len(getattr(trace, name)) != calls]
    if shorter:
        return f"{shorter[0]}: must be as long as prompt_tokens, {calls} (got {len(getattr(trace, shorter[0]))})"
    if not calls or len(first) != len(trace) + 1 or first[0] != 0 or first[-1] != calls or (np.diff(first) < 1).any():
        return "first_call: must rise from 0 to the number of calls, one step a session"
    if len(trace.start_s) != len(trace) or len(trace.caller) != len(trace.waiter):
        return "start_s needs one number a session, caller and waiter one each"
    session = trace.session
    bad = {
        "split": not np.isin(trace.split, range(len(SPLITS))).all(),
        "conversation": (trace.conversation < 0).any(),
        "group": ((trace.group < -1) | (trace.group >= len(trace.group_tokens))).any(),
        **{name: _is_no_time(getattr(trace, name)) for name in ("start_s", "wait_s", "service_s")},
        "caller": ((trace.caller < 0) | (trace.caller >= trace.waiter)).any(),
        "waiter": ((trace.waiter >= calls) | (np.diff(trace.waiter, prepend=0) < 0)).any(),
    }
    if any(bad.values()):
        return f"{next(name for name, is_bad in bad.items() if is_bad)}: holds a number that is out of range"
    if (session[trace.caller] != session[trace.waiter]).any():
        return "caller: waits for a call of another session"
    return ""


def _is_no_time(values: FloatColumn) -> bool:
    return bool((~np.isfinite(values) | (values < 0.0)).any())


def _check_tokens(name: str, tokens: NDArray[Any], lowest: int) -> None:
    wrong = np.flatnonzero((tokens < lowest) | (tokens > MAX_TOKENS))
    if len(wrong):
        row, got = int(wrong[0]), tokens[wrong[0]]
        raise SpecError([f"{name}: must be {lowest} to {MAX_TOKENS:,} tokens (row {row} has {got})"])


def count_reusable(previous: NDArray[np.int64], blocks: NDArray[np.int64]) -> int:
    """How many leading entries two sequences have in common.

    >>> count_reusable(np.array([1, 2, 3]), np.array([1, 2, 9, 3]))
    2
    """
    shorter = min(len(previous), len(blocks))
    differs = np.flatnonzero(previous[:shorter] != blocks[:shorter])
    return int(differs[0]) if len(differs) else shorter
