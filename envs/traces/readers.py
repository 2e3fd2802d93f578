"""Read public trace formats into a `Trace`; a mistake in a file is reported with the file and the line.

| format | recognised by | columns |
|---|---|---|
| Azure LLM inference trace | `.csv` with `TIMESTAMP` | TIMESTAMP (date and time), ContextTokens, GeneratedTokens |
| generic | `.csv` with `arrival_s` | arrival_s, prompt_tokens, output_tokens |
| Mooncake | `.jsonl` | timestamp (ms), input_length, output_length |
| compact | `.npz` | arrival_s, prompt_tokens, output_tokens (what `write_trace` writes) |

The text formats may be gzipped (`.csv.gz`, `.jsonl.gz`). Every request must have at least one prompt token and one
output token, and at most `MAX_TOKENS` of each: a request that generates nothing cannot be scheduled, so such a row is
an error, not silently dropped. The public Azure 2023 and Mooncake conversation traces have none. Times are shifted so
that the first request arrives at 0 s.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from array import array
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import Version, csv_rows, read_arrays, text_lines, version_of
from tokenfleet.envs.spec import MAX_TOKENS, SpecError, shown, suggest
from tokenfleet.envs.traces.table import Trace

TRACE_SUFFIXES = (".npz", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_NPZ_KEYS = ("arrival_s", "prompt_tokens", "output_tokens")
Row = tuple[int, float, int, int]  # line, time in ticks of the file's own clock, prompt tokens, output tokens
Rows = tuple[float, Iterator[Row]]  # ticks per second, rows
CsvRows = Iterator[tuple[int, list[str]]]  # line, cells
_MORE = "keep longer recordings as .npz: numpy.savez_compressed with arrival_s, prompt_tokens and output_tokens"


class _LineError(ValueError):
    """A mistake on a known line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class _TableError(SpecError):
    """A mistake in the columns together."""


def read_trace(path: Path | str) -> Trace:
    """Read a request trace; the same unchanged file is parsed once per process.

    Args:
        path: a file of one of the formats above.

    Raises:
        SpecError: what is wrong, with the file and the line.
    """
    path = Path(path)
    if not path.name.endswith(TRACE_SUFFIXES):
        raise SpecError([f"{path}: not a trace file: its name must end in one of {', '.join(TRACE_SUFFIXES)}"])
    return _read_version(path, version_of(path))


def write_trace(trace: Trace, path: Path | str) -> None:
    """Write the compact `.npz` form, as the catalogue ships it; the same trace gives the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in _NPZ_KEYS:
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, getattr(trace, name), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


@lru_cache(maxsize=32)
def _read_version(path: Path, version: Version) -> Trace:
    """Read once for each version of the file."""
    name = path.name
    for suffix in sorted(TRACE_SUFFIXES, key=len, reverse=True):
        name = name.removesuffix(suffix)
    try:
        if path.name.endswith(".npz"):
            return _read_npz(path, name)
        return _build(name, *(_jsonl_rows(path) if ".jsonl" in path.name else _csv_rows(path)))
    except _LineError as error:
        raise SpecError([f"{path}:{error.line}: {error}"]) from None
    except _TableError as error:
        raise SpecError(f"{path}: {problem}" for problem in error.problems) from None


def _build(name: str, ticks_per_s: float, rows: Iterator[Row]) -> Trace:
    times: list[float] = []
    prompts, outputs = array("i"), array("i")
    previous = -math.inf
    for line, time, prompt_tokens, output_tokens in rows:
        if time < previous:
            late_s = (previous - time) / ticks_per_s
            raise _LineError(line, f"times must not decrease (this row is {late_s:g} s before the last)")
        previous = time
        times.append(time)
        prompts.append(prompt_tokens)
        outputs.append(output_tokens)
    if not times:
        raise _LineError(1, "the trace is empty: it has no request")
    # Subtracted in ticks: whole nanoseconds since 1970 do not fit a float, their differences do.
    arrivals = np.fromiter(((time - times[0]) / ticks_per_s for time in times), np.float64, len(times))
    return _trace(name, arrivals, np.array(prompts, dtype=np.int32), np.array(outputs, dtype=np.int32))


def _trace(name: str, arrival_s: Any, prompt_tokens: Any, output_tokens: Any) -> Trace:
    """A trace whose columns nobody can change: it is shared by everyone who reads the same file."""
    try:
        trace = Trace(name, arrival_s, prompt_tokens, output_tokens)
    except SpecError as error:
        raise _TableError(error.problems) from None
    for column in (arrival_s, prompt_tokens, output_tokens):
        column.flags.writeable = False
    return trace


def _csv_rows(path: Path) -> Rows:
    reader = csv_rows(path, more=_MORE)
    _, cells = next(reader, (1, []))
    header = cells
    if not header:
        raise _LineError(1, "the trace is empty: it has no header")
    for names, ticks_per_s, parse_time in _CSV_FORMATS:
        if names[0] in header:
            return ticks_per_s, _csv_body(reader, header, names, parse_time)
    choices = " or ".join(",".join(names) for names, *_ in _CSV_FORMATS)
    raise _LineError(1, f"unknown columns {shown(','.join(header))}; expected {choices}")


def _csv_body(
    reader: CsvRows, header: list[str], names: tuple[str, ...], parse: Callable[[str], float]
) -> Iterator[Row]:
    missing = [name for name in names if name not in header]
    if missing:
        raise _LineError(1, f"column {missing[0]!r} is missing{suggest(missing[0], header)}")
    places = [header.index(name) for name in names]
    for line, cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            raise _LineError(line, f"{len(cells)} values for {len(header)} columns")
        time, prompt, output = (cells[place] for place in places)
        yield line, _time(line, names[0], time, parse), _tokens(line, names[1], prompt), _tokens(line, names[2], output)


def _jsonl_rows(path: Path) -> Rows:
    return 1e3, _jsonl_body(text_lines(path, more=_MORE))


def _jsonl_body(lines: Iterator[str]) -> Iterator[Row]:
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise _LineError(line, f"not valid JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:  # digits without end, brackets without end
            raise _LineError(line, f"not valid JSON: {error}") from None
        if not isinstance(record, dict):
            raise _LineError(line, f"must be an object (got {type(record).__name__})")
        missing = [key for key in ("timestamp", "input_length", "output_length") if key not in record]
        if missing:
            raise _LineError(line, f"key {missing[0]!r} is missing{suggest(missing[0], record)}")
        time_ms = _time(line, "timestamp", record["timestamp"], float)
        prompt_tokens = _tokens(line, "input_length", record["input_length"])
        yield line, time_ms, prompt_tokens, _tokens(line, "output_length", record["output_length"])


def _time(line: int, name: str, value: Any, parse: Callable[[Any], float]) -> float:
    try:
        time = parse(value)
    except (TypeError, ValueError, OverflowError):
        raise _LineError(line, f"{name}: not a time (got {shown(value)})") from None
    if not math.isfinite(time):
        raise _LineError(line, f"{name}: must be finite (got {shown(value)})")
    return time


def _tokens(line: int, name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _LineError(line, f"{name}: not a number (got {shown(value)})") from None
    if isinstance(value, bool) or not (number.is_integer() and 1 <= number <= MAX_TOKENS):
        raise _LineError(line, f"{name}: must be a whole number of tokens, 1 to {MAX_TOKENS:,} (got {shown(value)})")
    return int(number)


def _date_time_ns(text: str) -> int:
    """Nanoseconds since 1970 of `2023-11-16 18:15:46.6805900`, with or without a fraction and a UTC offset.

    >>> _date_time_ns("1970-01-01 00:01:00.2500000")
    60250000000
    """
    whole, point, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if point and not digits:
        raise ValueError(text)
    moment = datetime.fromisoformat((whole + rest[len(digits) :]).replace("Z", "+00:00"))
    since = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + int(digits.ljust(9, "0")[:9] or 0)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CSV_FORMATS: tuple[tuple[tuple[str, str, str], float, Callable[[str], float]], ...] = (
    (("TIMESTAMP", "ContextTokens", "GeneratedTokens"), 1e9, _date_time_ns),
    (("arrival_s", "prompt_tokens", "output_tokens"), 1.0, float),
)


def _read_npz(path: Path, name: str) -> Trace:
    columns = read_arrays(path)
    if "first_call" in columns:
        raise SpecError([f"{path}: holds sessions, not independent requests; replay it with kind: agent_sessions"])
    missing = [key for key in _NPZ_KEYS if key not in columns]
    if missing:
        raise SpecError([f"{path}: column {missing[0]!r} is missing{suggest(missing[0], columns)}"])
    return _trace(name, *(columns[key] for key in _NPZ_KEYS))
