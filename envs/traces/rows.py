"""The requests of a table, row by row, whatever it is written in; a mistake names the line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.files import csv_table, read_text, text_lines
from tokenfleet.envs.files.limits import JSON_BYTES, TABLE_BYTES, TABLE_ROWS
from tokenfleet.envs.spec import MAX_TOKENS, shown, suggest
from tokenfleet.envs.traces.formats import (
    DATE,
    ROLES,
    TICKS_PER_S,
    Format,
    choices,
    likely_columns,
    parser_of,
    recognise,
    unit_of,
)

Row = tuple[int, float, int, int]
"""Line, time in ticks of the file's own clock, prompt tokens, output tokens."""
Cells = tuple[int, tuple[Any, Any, Any]]
"""Line, and the values of the three columns."""
OPEN_CELLS = ("", "nan", "null", "none", "na", "n/a")
NOTHING_LEFT = "no request is left: every row lacks a time or a prompt"
Choose = Callable[[Format | None], Format | None]
"""What a user says of a format that was recognised, or was not."""


class LineError(ValueError):
    """A mistake on a known line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class Found:
    """Rows of one kind that a reader goes past, counted; the first of them are kept for a message."""

    SHOWN = 3

    def __init__(self) -> None:
        self.count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, line: int, column: str) -> None:
        """Count a row, and the column for which it is one of them."""
        self.count += 1
        if self.count <= self.SHOWN:
            self._first.append((line, column))

    def __str__(self) -> str:
        first = ", ".join(f"line {line} ({column})" for line, column in self._first)
        return first + (", ..." if self.count > self.SHOWN else "")


@dataclass(frozen=True)
class RowLimits:
    """What a table may cost, and what it may lack.

    Attributes:
        rows: most lines.
        table_bytes: most bytes of text, inflated.
        json_bytes: most bytes of one JSON document.
        more: what to do with a longer table.
        least_output: fewest tokens of an answer; with 0, an answer that is left open has none.
        gaps: rows without a time or a prompt are left out, and counted here; by default they are mistakes.
    """

    rows: int = TABLE_ROWS
    table_bytes: int = TABLE_BYTES
    json_bytes: int = JSON_BYTES
    more: str = ""
    least_output: int = 1
    gaps: Found | None = None


@dataclass(frozen=True)
class Table:
    """Rows of a table, and the format of that table with its unit of time."""

    format: Format
    rows: Iterator[Row]

    @property
    def ticks_per_s(self) -> float:
        """Of the rows' times."""
        return TICKS_PER_S[str(self.format.unit)]


def read_rows(path: Path, container: str, choose: Choose, limits: RowLimits) -> Table:
    """The requests of a table.

    Args:
        path: the file.
        container: how it is written.
        choose: the format to read by, given the one that the columns look like.
        limits: what it may cost.

    Raises:
        LineError: what is wrong with its head; the rows raise it as they are read.
        SpecError: the file cannot be read.
    """
    form, cells = _OPEN[container](path, choose, limits)
    if limits.gaps is not None:
        cells = _without_gaps(form, cells, limits.gaps)
    first = next(cells, None)
    if first is None:
        lack = limits.gaps is not None and limits.gaps.count
        raise LineError(1, NOTHING_LEFT if lack else "the trace is empty: it has no request")
    unit = form.unit or unit_of(form.columns["arrival"], first[1][0])
    form = Format(form.doc, form.container, form.columns, unit)
    return Table(form, _parsed(form, first, cells, limits))


def _without_gaps(form: Format, rows: Iterator[Cells], gaps: Found) -> Iterator[Cells]:
    """The rows that have a time and a prompt."""
    needed = [(place, form.columns[role]) for place, role in enumerate(ROLES) if role != "output"]
    for line, cells in rows:
        lacks = next((column for place, column in needed if _is_open(cells[place])), None)
        if lacks is None:
            yield line, cells
        else:
            gaps.add(line, lacks)


def _is_open(value: Any) -> bool:
    """Whether a cell is left open, as tables of several programs write it.

    >>> [_is_open(value) for value in ("", " NaN", None, 0, "0")]
    [True, True, True, False, False]
    """
    return value is None or (isinstance(value, str) and value.strip().lower() in OPEN_CELLS)


def _parsed(form: Format, first: Cells, others: Iterator[Cells], limits: RowLimits) -> Iterator[Row]:
    arrival, prompt, output = (form.columns[role] for role in ROLES)
    parse = parser_of(str(form.unit))
    line, cells = first
    while True:
        yield (
            line,
            _time(line, arrival, cells[0], parse, str(form.unit)),
            _tokens(line, prompt, cells[1], 1),
            _tokens(line, output, cells[2], limits.least_output),
        )
        try:
            line, cells = next(others)
        except StopIteration:
            return


def _open_csv(path: Path, choose: Choose, limits: RowLimits) -> tuple[Format, Iterator[Cells]]:
    header, rows = csv_table(path, limits.rows, limits.more, limits.table_bytes)
    if not header:
        raise LineError(1, "the trace is empty: it has no header")
    form = choose(recognise("csv", header))
    if form is None:
        known = choices(("azure-2023", "tokenfleet", "burstgpt"))
        way_out = f"or name them with {likely_columns(header)} of the import"
        raise LineError(1, f"unknown columns {shown(','.join(header))}; expected {known}, {way_out}")
    for role, name in form.columns.items():
        if name not in header:
            hint = f"; the import takes another by --column {role}=NAME"
            raise LineError(1, f"column {name!r} is missing{suggest(name, header)}{hint}")
    places = [header.index(form.columns[role]) for role in ROLES]

    def body() -> Iterator[Cells]:
        for line, cells in rows:
            yield line, (cells[places[0]], cells[places[1]], cells[places[2]])

    return form, body()


def _open_jsonl(path: Path, choose: Choose, limits: RowLimits) -> tuple[Format, Iterator[Cells]]:
    records = _records(path, limits)
    first = next(records, None)
    if first is None:
        raise LineError(1, "the trace is empty: it has no request")
    form = choose(recognise("jsonl", first[1]))
    if form is None:
        keys, known = leaves(first[1]), choices(("mooncake",))
        way_out = f"or name them with {likely_columns(keys)} of the import"
        raise LineError(first[0], f"unknown keys {shown(','.join(keys))}; expected {known}, {way_out}")

    def body() -> Iterator[Cells]:
        line, record = first
        lenient = False  # a key that the first object lacks is misspelt
        while True:
            arrival, prompt, output = (_value(line, record, form.columns[role], lenient) for role in ROLES)
            yield line, (arrival, prompt, output)
            try:
                line, record = next(records)
            except StopIteration:
                return
            lenient = limits.gaps is not None

    return form, body()


def _records(path: Path, limits: RowLimits) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(text_lines(path, limits.rows, limits.more, limits.table_bytes), start=1):
        if not text.strip():
            continue
        yield line, _object(line, text)


def _object(line: int, text: str) -> Mapping[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise LineError(line, f"not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # digits without end, brackets without end
        raise LineError(line, f"not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise LineError(line, f"must be an object (got {type(record).__name__})")
    return record


def _value(line: int, record: Mapping[str, Any], path: str, lenient: bool) -> Any:
    """What stands behind a key, or behind the parts of its dotted path; `lenient`: None where the key is missing."""
    if path in record:
        return record[path]
    found: Any = record
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            if lenient:
                return None
            hint = "; --column of the import names another"
            raise LineError(line, f"key {path!r} is missing{suggest(path, leaves(record))}{hint}")
        found = found[part]
    return found


def leaves(record: Mapping[str, Any], before: str = "") -> list[str]:
    """Dotted paths of what an object holds, objects inside of it taken apart.

    >>> leaves({"at": 1, "usage": {"prompt": 2, "completion": 3}})
    ['at', 'usage.prompt', 'usage.completion']
    """
    found: list[str] = []
    for name, value in record.items():
        found += leaves(value, f"{before}{name}.") if isinstance(value, dict) else [f"{before}{name}"]
    return found


def _open_json(path: Path, choose: Choose, limits: RowLimits) -> tuple[Format, Iterator[Cells]]:
    record = _object(1, read_text(path, limits.json_bytes))
    form = choose(recognise("json", record)) or recognise("json", ("start_times",))
    assert form is not None
    for role, name in form.columns.items():
        if not isinstance(record.get(name), list):
            hint = "; vllm bench serve writes it with --save-detailed" if role in ROLES else ""
            raise LineError(1, f"list {name!r} is missing{hint}{suggest(name, _lists(record))}")
    lists = [record[form.columns[role]] for role in ROLES]
    if len({len(values) for values in lists}) != 1:
        lengths = ", ".join(f"{len(values)} {form.columns[role]}" for role, values in zip(ROLES, lists, strict=True))
        raise LineError(1, f"lists must be as long as each other (got {lengths})")
    return form, ((number, values) for number, values in enumerate(zip(*lists, strict=True), start=1))


def _lists(record: Mapping[str, Any]) -> list[str]:
    return [name for name, value in record.items() if isinstance(value, list)]


_OPEN: dict[str, Callable[[Path, Choose, RowLimits], tuple[Format, Iterator[Cells]]]] = {
    "csv": _open_csv,
    "jsonl": _open_jsonl,
    "json": _open_json,
}


def _time(line: int, name: str, value: Any, parse: Callable[[Any], float], unit: str) -> float:
    try:
        time = parse(value)
    except (TypeError, ValueError, OverflowError):
        form = "write dates as 2023-11-16 18:15:46; " if unit == DATE else ""
        hint = f"{form}mend or remove the row, or, if the unit is not {unit}, name it with --time-unit of the import"
        raise LineError(line, f"{name}: not a time (got {shown(value)}); {hint}") from None
    if not math.isfinite(time):
        raise LineError(line, f"{name}: must be finite (got {shown(value)})")
    return time


def _tokens(line: int, name: str, value: Any, least: int) -> int:
    if least == 0 and _is_open(value):  # a request that failed
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise LineError(line, f"{name}: not a number (got {shown(value)}); mend or remove the row") from None
    if isinstance(value, bool) or not (number.is_integer() and least <= number <= MAX_TOKENS):
        raise LineError(
            line, f"{name}: must be a whole number of tokens, {least} to {MAX_TOKENS:,} (got {shown(value)})"
        )
    return int(number)
