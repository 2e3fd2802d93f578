"""Logs of requests: when each came, how long it was, and when its first and its last token were there.

A CSV has a row a request, JSON lines (`.jsonl`) an object, with the columns `arrival_s`, `prompt_tokens`,
`output_tokens`, `ttft_s` and `e2e_s`; times may end in `_ms` or `_us` instead, and each may have any of the names of
`request_columns.NAMES`. In the place of durations, a log may have the moments of both tokens. The JSON of `vllm bench
serve --save-result --save-detailed` has lists of the same. All may be gzipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import read_text
from tokenfleet.envs.files.limits import IMPORT_JSON_BYTES
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.records import JSON_LINES, Record, json_lines, table_rows
from tokenfleet.envs.fitting.request_columns import Request, RequestColumns, checked, has_arrivals, number
from tokenfleet.envs.spec import SpecError, counted, shown

LISTS = ("start_times", "input_lens", "output_lens", "ttfts", "itls")
"""Of a result of vLLM's benchmark; the last are the times between tokens."""
FEWEST = 20


@dataclass(frozen=True)
class ServedRequests:
    """R requests in the order of arrival.

    Attributes:
        place: the file.
        arrival_s: from the first request on, `[R]` [s].
        prompt_tokens, output_tokens: `[R]`.
        ttft_s, e2e_s: from arrival to the first and to the last token, `[R]` [s].
        notes: remarks on how it was read.
    """

    place: str
    arrival_s: Array
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    ttft_s: Array
    e2e_s: Array
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.arrival_s)


def is_request_log(path: Path) -> bool:
    """Whether a file is a log of requests by its columns, rather than a table of runs; never of one JSON or a folder.

    Raises:
        SpecError: the file cannot be read.
    """
    if path.is_dir() or not path.name.endswith((".csv", ".csv.gz", *JSON_LINES)):
        return False
    first = next(_records(path), None)
    return first is not None and has_arrivals(first[1])


def read_request_log(path: Path) -> ServedRequests:
    """Read a log; requests without an answer are left out, which a note says.

    Raises:
        SpecError: the first mistake, with the file, the line and the column.
    """
    requests = list(_listed(path) if _is_json(path) else _row_by_row(path))
    answered = [request for request in requests if request is not None]
    if len(answered) < FEWEST:
        raise SpecError([f"{path}: at least {FEWEST} requests with an answer are needed (got {len(answered)})"])
    arrival_s, prompt, output, ttft_s, e2e_s = (np.array(column) for column in zip(*answered, strict=True))
    order = np.argsort(arrival_s, kind="stable")
    lost = len(requests) - len(answered)
    return ServedRequests(
        place=str(path),
        arrival_s=arrival_s[order] - arrival_s.min(),
        prompt_tokens=prompt[order].astype(np.int64),
        output_tokens=output[order].astype(np.int64),
        ttft_s=ttft_s[order],
        e2e_s=e2e_s[order],
        notes=(f"{path}: left out: {counted(lost, 'request')} without an answer",) if lost else (),
    )


def _is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".json")


def _records(path: Path) -> Iterator[Record]:
    return json_lines(path) if path.name.endswith(JSON_LINES) else table_rows(path)


def _row_by_row(path: Path) -> Iterator[Request | None]:
    records = _records(path)
    first = next(records, None)
    if first is None:
        return
    columns = RequestColumns.of(f"{path}:1", first[1])
    for place, row in chain([first], records):
        yield columns.request(place, row)


def _listed(path: Path) -> Iterator[Request | None]:
    try:
        record = json.loads(read_text(path, IMPORT_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise SpecError([f"{path}: not valid JSON: {error}"]) from None
    if not isinstance(record, dict):
        raise SpecError([f"{path}: must be an object, a result of vllm bench serve"])
    for name in LISTS:
        if not isinstance(record.get(name), list):
            raise SpecError([f"{path}: list {name!r} is missing; vllm bench serve writes it with --save-detailed"])
    if len({len(record[name]) for name in LISTS}) != 1:
        raise SpecError([f"{path}: {', '.join(LISTS)} must be as long as each other"])
    for index, values in enumerate(zip(*(record[name] for name in LISTS), strict=True)):
        place = f"{path}: request {index}"
        *others, between = values
        if not isinstance(between, list):
            raise SpecError([f"{place}: itls must hold a list of times (got {shown(between)})"])
        start, prompt, output, ttft = (
            number(place, name, value) for name, value in zip(LISTS[:-1], others, strict=True)
        )
        e2e_s = ttft + sum(number(place, "itls", gap) for gap in between)
        found = checked(place, Request(start, prompt, output, ttft, e2e_s))
        yield found if found.output_tokens else None
