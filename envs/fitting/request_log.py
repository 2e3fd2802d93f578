"""Logs of requests: when each came, how long it was, and when its first and its last token were there.

A CSV has a row a request, with the columns `arrival_s`, `prompt_tokens`, `output_tokens`, `ttft_s` and `e2e_s`; times
may end in `_ms` or `_us` instead, and each may have any of the names of `NAMES`. The JSON of `vllm bench serve
--save-result --save-detailed` has lists of the same. Both may be gzipped.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import csv_table, read_text
from tokenfleet.envs.files.limits import IMPORT_JSON_BYTES
from tokenfleet.envs.fitting.columns import TIME_UNITS
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.spec import MAX_TOKENS, SpecError, shown, suggest

NAMES: dict[str, tuple[str, ...]] = {
    "arrival": ("arrival", "start_time", "sent_at"),
    "prompt": ("prompt_tokens", "input_tokens", "input_len", "prompt_len"),
    "output": ("output_tokens", "completion_tokens", "output_len"),
    "ttft": ("ttft", "time_to_first_token"),
    "e2e": ("e2e", "e2el", "e2e_latency", "latency", "end_to_end_latency"),
}
"""Role -> what its column may be called, times without their unit, the preferred name first."""
TIMES = ("arrival", "ttft", "e2e")
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
    """Whether a file is a log of requests by its columns, rather than a table of runs; never of JSON or a folder.

    Raises:
        SpecError: the file cannot be read.
    """
    if path.is_dir() or not path.name.endswith((".csv", ".csv.gz")):
        return False
    header = csv_table(path).header
    return all(_column(role, header) for role in ("arrival", "e2e"))


def read_request_log(path: Path) -> ServedRequests:
    """Read a log; requests without an answer are left out, which a note says.

    Raises:
        SpecError: the first mistake, with the file, the line and the column.
    """
    rows = list(_json_rows(path) if _is_json(path) else _csv_rows(path))
    answered = [row for row in rows if row[2] >= 1]
    if len(answered) < FEWEST:
        raise SpecError([f"{path}: at least {FEWEST} requests with an answer are needed (got {len(answered)})"])
    arrival_s, prompt, output, ttft_s, e2e_s = (np.array(column) for column in zip(*answered, strict=True))
    order = np.argsort(arrival_s, kind="stable")
    lost = len(rows) - len(answered)
    return ServedRequests(
        place=str(path),
        arrival_s=arrival_s[order] - arrival_s.min(),
        prompt_tokens=prompt[order].astype(np.int64),
        output_tokens=output[order].astype(np.int64),
        ttft_s=ttft_s[order],
        e2e_s=e2e_s[order],
        notes=(f"{path}: {lost} requests without an answer are left out",) if lost else (),
    )


Row = tuple[float, float, float, float, float]


def _is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".json")


def _csv_rows(path: Path) -> Iterator[Row]:
    header, rows = csv_table(path)
    found = {role: _column(role, header) for role in NAMES}
    for role, column in found.items():
        if column is None:
            unit = "_s" if role in TIMES else ""
            known = suggest(NAMES[role][0] + unit, header)
            raise SpecError([f"{path}:1: nothing says the {role}; call its column {NAMES[role][0]}{unit}{known}"])
    columns = [column for column in found.values() if column is not None]
    places = [header.index(name) for name, _ in columns]
    for line, cells in rows:
        if not any(cells):
            continue
        values = [
            factor * _number(f"{path}:{line}", name, cells[at])
            for at, (name, factor) in zip(places, columns, strict=True)
        ]
        yield _checked(f"{path}:{line}", values)


def _json_rows(path: Path) -> Iterator[Row]:
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
    for number, values in enumerate(zip(*(record[name] for name in LISTS), strict=True)):
        place = f"{path}: request {number}"
        *others, between = values
        if not isinstance(between, list):
            raise SpecError([f"{place}: itls must hold a list of times (got {shown(between)})"])
        start, prompt, output, ttft = (
            _number(place, name, value) for name, value in zip(LISTS[:-1], others, strict=True)
        )
        yield _checked(place, [start, prompt, output, ttft, ttft + sum(_number(place, "itls", gap) for gap in between)])


def _column(role: str, header: Collection[str]) -> tuple[str, float] | None:
    """The column of a role, and the factor to SI of its unit."""
    units: Mapping[str, float] = TIME_UNITS if role in TIMES else {}
    for name in NAMES[role]:
        spelt = {f"{name}_{unit}": factor for unit, factor in units.items()} if units else {name: 1.0}
        for column in header:
            if column.lower() in spelt:
                return column, spelt[column.lower()]
    return None


def _checked(place: str, values: Sequence[float]) -> Row:
    arrival_s, prompt, output, ttft_s, e2e_s = values
    for name, tokens, least in (("prompt", prompt, 1), ("answer", output, 0)):
        if not (tokens.is_integer() and least <= tokens <= MAX_TOKENS):
            raise SpecError([f"{place}: the {name} must be a whole number of tokens, from {least} (got {tokens:g})"])
    if output >= 1 and not 0.0 < ttft_s <= e2e_s:
        times = f"got {ttft_s:g} s for the first and {e2e_s:g} s for the last"
        raise SpecError([f"{place}: the first token must come after the request, not after the last ({times})"])
    return arrival_s, prompt, output, ttft_s, e2e_s


def _number(place: str, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not np.isfinite(number):
        raise SpecError([f"{place}: {name}: must be a number (got {shown(value)})"])
    return number
