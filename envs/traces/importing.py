"""Convert a record of requests to a trace: other columns, other clocks, rows out of order, answers of no token."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import version_of
from tokenfleet.envs.files.limits import IMPORT_BYTES, IMPORT_JSON_BYTES, IMPORT_ROWS
from tokenfleet.envs.spec import SpecError, counted, suggest
from tokenfleet.envs.traces.formats import (
    CONTAINERS,
    DATE,
    ROLES,
    TICKS_PER_S,
    Format,
    check_name,
    container_of,
    mapped,
)
from tokenfleet.envs.traces.readers import read_trace, trace_name
from tokenfleet.envs.traces.rows import Found, LineError, RowLimits, Table, read_rows
from tokenfleet.envs.traces.trace import Trace

ZERO_OUTPUTS = ("refuse", "drop", "one")
MISSING = ("refuse", "drop")
UNITS = ("auto", *TICKS_PER_S)
SINCE_1970_S = 1e8
"""A first time from which on it is taken to count from 1970."""
EVERY_ROWS = 10_000
Columns = tuple["array[Any]", "array[int]", "array[int]"]


@dataclass(frozen=True)
class Imported:
    """A trace that was converted.

    Attributes:
        trace: times from its first request.
        begins: when that was; None where the record does not say.
        notes: what was changed.
    """

    trace: Trace
    begins: datetime | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class How:
    """How to read a record.

    Attributes:
        format: a name of `FORMATS`; by default the one that the columns look like.
        columns: role -> column of the file, where it differs from the format's.
        unit: of times, one of `UNITS`.
        zero_outputs: whether answers of no token are refused, dropped, or taken for one token.
        missing: whether rows without a time or a prompt are refused or dropped.
    """

    format: str | None = None
    columns: Mapping[str, str] | None = None
    unit: str = "auto"
    zero_outputs: str = "refuse"
    missing: str = "refuse"

    def __post_init__(self) -> None:
        problems = [
            f"--column: unknown role {role!r}{suggest(role, ROLES)}" for role in self.columns or () if role not in ROLES
        ]
        for option, value, allowed in (
            ("--time-unit", self.unit, UNITS),
            ("--zero-outputs", self.zero_outputs, ZERO_OUTPUTS),
            ("--missing", self.missing, MISSING),
        ):
            if value not in allowed:
                problems.append(f"{option}: unknown {value!r}{suggest(value, allowed)}")
        if problems:
            raise SpecError(problems)


def import_trace(path: Path, how: How, progress: Callable[[int], None] = lambda rows: None) -> Imported:
    """Convert a record.

    Args:
        path: the file.
        how: how to read it.
        progress: told of every so many rows that were read.

    Raises:
        SpecError: the mistake, with the file, the line and the option that helps.
    """
    if path.name.endswith(".npz"):
        return Imported(read_trace(path), None, ())
    version_of(path)
    base = None if how.format is None else check_name(how.format)
    container = container_of(path.name) or (base.container if base else None)
    if container is None:
        endings = ", ".join(suffix for suffixes in CONTAINERS.values() for suffix in suffixes)
        raise SpecError([f"{path}: nothing says how it is written; end its name in one of {endings}"])
    unit = None if how.unit == "auto" else how.unit

    def choose(recognised: Format | None) -> Format | None:
        return mapped(base or recognised, container, how.columns or {}, unit)

    gaps, empty = Found(), Found()
    more = "cut it into shorter ones"
    limits = RowLimits(IMPORT_ROWS, IMPORT_BYTES, IMPORT_JSON_BYTES, more, least_output=0, gaps=gaps)
    try:
        table = read_rows(path, container, choose, limits)
        columns = _gathered(table, empty, how, progress)
    except LineError as error:
        raise SpecError([f"{path}:{error.line}: {error}"]) from None
    if problems := _refused(how, gaps, empty):
        raise SpecError([f"{path}: {problem}" for problem in problems])
    if not columns[0]:
        raise SpecError([f"{path}: no request is left: every answer has no token"])
    return _sorted(path, table, columns, how, (gaps, empty))


def _gathered(table: Table, empty: Found, how: How, progress: Callable[[int], None]) -> Columns:
    """Times in ticks of the file's own clock, prompts and answers; answers of no token are counted in `empty`."""
    dates = table.format.unit == DATE
    times: array[Any] = array("q" if dates else "d")
    prompts, outputs = array("i"), array("i")
    rows = 0
    for line, time, prompt, output in table.rows:
        rows += 1
        if rows % EVERY_ROWS == 0:
            progress(EVERY_ROWS)
        if output == 0:
            empty.add(line, table.format.columns["output"])
            if how.zero_outputs == "drop":
                continue
        times.append(int(time) if dates else time)
        prompts.append(prompt)
        outputs.append(max(output, 1))
    progress(rows % EVERY_ROWS)
    return times, prompts, outputs


def _refused(how: How, gaps: Found, empty: Found) -> list[str]:
    """What a user has to decide about rows that cannot be served as they stand, one line for each kind of them."""
    problems = []
    if gaps.count and how.missing == "refuse":
        rows = counted(gaps.count, "row")
        problems.append(f"{rows} without a time or a prompt: {gaps}; mend them, or leave them out with --missing drop")
    if empty.count and how.zero_outputs == "refuse":
        answers = counted(empty.count, "answer")
        problems.append(
            f"{answers} of no token, which cannot be served: {empty}; leave such requests out with "
            "--zero-outputs drop, or take them for one with --zero-outputs one"
        )
    return problems


def _sorted(path: Path, table: Table, columns: Columns, how: How, found: tuple[Found, Found]) -> Imported:
    ticks = np.frombuffer(columns[0], np.int64 if table.format.unit == DATE else np.float64)
    prompts, outputs = (np.frombuffer(column, np.int32).copy() for column in columns[1:])
    late = int((np.diff(ticks) < 0).sum())
    if late:
        order = np.argsort(ticks, kind="stable")
        ticks, prompts, outputs = ticks[order], prompts[order], outputs[order]
    first_s = float(ticks[0]) / table.ticks_per_s
    begins = None
    if table.format.unit == DATE or first_s >= SINCE_1970_S:
        begins = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=first_s)
    gaps, empty = found
    notes = []
    if late:
        notes.append(f"sorted: {counted(late, 'request')} came before the one of the row above")
    if gaps.count:
        notes.append(f"left out: {counted(gaps.count, 'row')} without a time or a prompt")
    if empty.count:
        done = "left out" if how.zero_outputs == "drop" else "taken for one token"
        notes.append(f"{done}: {counted(empty.count, 'answer')} of no token")
    arrival_s = (ticks - ticks[0]).astype(np.float64) / table.ticks_per_s
    return Imported(Trace(trace_name(path), arrival_s, prompts, outputs), begins, tuple(notes))
