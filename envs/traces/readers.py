"""Read tables of requests into a `Trace`; a mistake in a file is reported with the file and the line.

The text formats are those of `formats`, CSV and JSON lines, gzipped or not; `.npz` is the compact form that
`write_trace` writes. Every request must have at least one prompt token and one output token, and at most `MAX_TOKENS`
of each: a request that generates nothing cannot be scheduled, so such a row is an error, not silently dropped. The
public Azure 2023 and Mooncake conversation traces have no such row. Times must not decrease; those of text are shifted
so that the first request arrives at 0 s. `importing` converts a record that does not keep these rules.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zipfile
from array import array
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import Version, read_arrays, version_of
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.traces.formats import CONTAINERS, FORMATS, ROLES, container_of
from tokenfleet.envs.traces.rows import LineError, RowLimits, Table, read_rows
from tokenfleet.envs.traces.trace import Trace

TRACE_SUFFIXES = (".npz", *CONTAINERS["csv"], *CONTAINERS["jsonl"])
IMPORT = "python -m tokenfleet.envs.demand import"
_NPZ_KEYS = ("arrival_s", "prompt_tokens", "output_tokens")
_LIMITS = RowLimits(more=f"keep longer recordings as .npz: {IMPORT} FILE --out trace.npz")


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
    """Write a trace, by the end of its name as `.npz`, `.csv` or `.csv.gz`; the same trace gives the same bytes.

    Raises:
        SpecError: the name has another ending.
    """
    Path(path).write_bytes(trace_bytes(trace, str(path)))


def trace_bytes(trace: Trace, name: str) -> bytes:
    """The contents of a file of this name that holds a trace.

    Raises:
        SpecError: the name ends neither in `.npz` nor in `.csv` or `.csv.gz`.
    """
    buffer = io.BytesIO()
    if name.endswith(".npz"):
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for key in _NPZ_KEYS:
                column = io.BytesIO()
                np.lib.format.write_array(column, getattr(trace, key), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{key}.npy"), column.getvalue(), zipfile.ZIP_DEFLATED)
        return buffer.getvalue()
    if not name.endswith(CONTAINERS["csv"]):
        raise SpecError([f"{name}: a trace is written as .npz, .csv or .csv.gz; end its name in one of them"])
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([FORMATS["tokenfleet"].columns[role] for role in ROLES])
    columns = (trace.arrival_s.tolist(), trace.prompt_tokens.tolist(), trace.output_tokens.tolist())
    writer.writerows(zip(*columns, strict=True))
    text = lines.getvalue().encode()
    return gzip.compress(text, mtime=0) if name.endswith(".gz") else text


@lru_cache(maxsize=32)
def _read_version(path: Path, version: Version) -> Trace:
    """Read once for each version of the file."""
    name = trace_name(path)
    try:
        if path.name.endswith(".npz"):
            return _read_npz(path, name)
        return _build(name, read_rows(path, str(container_of(path.name)), lambda recognised: recognised, _LIMITS))
    except LineError as error:
        raise SpecError([f"{path}:{error.line}: {error}"]) from None
    except _TableError as error:
        raise SpecError(f"{path}: {problem}" for problem in error.problems) from None


def trace_name(path: Path) -> str:
    """A file's name without the endings of traces."""
    name = path.name
    for suffix in sorted((*TRACE_SUFFIXES, *CONTAINERS["json"]), key=len, reverse=True):
        name = name.removesuffix(suffix)
    return name


def _build(name: str, table: Table) -> Trace:
    times: list[float] = []
    prompts, outputs = array("i"), array("i")
    previous = -math.inf
    for line, time, prompt_tokens, output_tokens in table.rows:
        if time < previous:
            late_s = (previous - time) / table.ticks_per_s
            raise LineError(
                line, f"times must not decrease (this row is {late_s:g} s before the last); sort them with {IMPORT}"
            )
        previous = time
        times.append(time)
        prompts.append(prompt_tokens)
        outputs.append(output_tokens)
    # Subtracted in ticks: whole nanoseconds since 1970 do not fit a float, their differences do.
    arrivals = np.fromiter(((time - times[0]) / table.ticks_per_s for time in times), np.float64, len(times))
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


def _read_npz(path: Path, name: str) -> Trace:
    columns = read_arrays(path)
    if "first_call" in columns:
        raise SpecError(
            [f"{path}: holds sessions, not independent requests; replay it with kind: conversations or agent_sessions"]
        )
    missing = [key for key in _NPZ_KEYS if key not in columns]
    if missing:
        raise SpecError([f"{path}: column {missing[0]!r} is missing{suggest(missing[0], columns)}"])
    return _trace(name, *(columns[key] for key in _NPZ_KEYS))
