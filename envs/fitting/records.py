"""Rows of tables and lines of JSON, each with its place, before anyone knows what their columns mean."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenfleet.envs.files import csv_table, read_text, text_lines
from tokenfleet.envs.files.limits import JSON_BYTES, TABLE_BYTES, TABLE_ROWS
from tokenfleet.envs.spec import SpecError, shown

JSON_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
JSON_LINES = (".jsonl", ".jsonl.gz")
Record = tuple[str, Mapping[str, Any]]  # place, column -> value


def table_rows(path: Path, limit_rows: int = TABLE_ROWS, limit_bytes: int = TABLE_BYTES) -> Iterator[Record]:
    """The rows of a CSV by column, each with its place.

    Raises:
        SpecError: the file cannot be read, has no header, names a column twice, or a row has too many or too few cells.
    """
    header, rows = csv_table(path, limit_rows, "cut it to what belongs to the runs", limit_bytes)
    if not any(header):
        raise SpecError([f"{path}:1: the table is empty: it has no header"])
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise SpecError([f"{path}:1: column {shown(twice[0])} is given twice"])
    for line, cells in rows:
        if any(cells):
            yield f"{path}:{line}", dict(zip(header, cells, strict=True))


def json_records(path: Path) -> Iterator[Record]:
    """One object, or one a line, as `--append-result` leaves them."""
    text = read_text(path, JSON_BYTES)
    try:
        documents = [(str(path), json.loads(text))]
    except (ValueError, RecursionError):
        lines = [(f"{path}:{number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        documents = [(place, _json_line(place, line)) for place, line in lines]
    for place, document in documents:
        yield place, _object(place, document, "an object, a result of vllm bench serve")


def json_lines(path: Path) -> Iterator[Record]:
    """One object a line, read as it is needed."""
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            place = f"{path}:{number}"
            yield place, _object(place, _json_line(place, line), "an object")


def _object(place: str, document: Any, wanted: str) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        got = "a list" if isinstance(document, list) else shown(document)
        raise SpecError([f"{place}: must be {wanted} (got {got})"])
    return document


def _json_line(place: str, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise SpecError([f"{place}: not valid JSON: {error.msg}"]) from None
    except (ValueError, RecursionError) as error:  # digits without end, brackets without end
        raise SpecError([f"{place}: not valid JSON: {error}"]) from None
