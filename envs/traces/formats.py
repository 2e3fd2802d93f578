"""What public records of requests look like: a format is an entry of `FORMATS`, and nothing else knows its names.

| format | file | arrival | prompt | answer |
|---|---|---|---|---|
| tokenfleet | CSV | arrival_s, seconds | prompt_tokens | output_tokens |
| azure-2023, azure-2024 | CSV | TIMESTAMP, date and time, or numbers | ContextTokens | GeneratedTokens |
| burstgpt | CSV | Timestamp, seconds | Request tokens | Response tokens |
| mooncake | JSON lines | timestamp, milliseconds | input_length | output_length |
| vllm-bench | one JSON object of lists | start_times, seconds | input_lens | output_lens |

Any other table is read by naming its columns, with the unit of its times where their size does not tell it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from tokenfleet.envs.spec import SpecError, suggest

ROLES = ("arrival", "prompt", "output")
DATE = "date"
TICKS_PER_S: dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, DATE: 1e9}
"""Unit of time -> how many make a second; dates are read as nanoseconds since 1970."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EPOCH_UNITS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))
"""Least number of a time counted from 1970, by unit: the years 1973 to 5138."""

_WORDS = {
    "arrival": ("arriv", "timestamp", "created", "start", "time", "date", "when", "sent"),
    "prompt": ("prompt", "input", "context", "request tok", "request_tok", "request_len", "in_tok"),
    "output": ("output", "completion", "generat", "response", "answer", "out_tok"),
}
"""Role -> parts of names that columns of this role often have, the surest first."""


@dataclass(frozen=True)
class Format:
    """A table of requests.

    Attributes:
        doc: whose it is.
        container: `csv`, `jsonl` or `json`.
        columns: role -> column, or the dotted path of a key.
        unit: of times, one of `TICKS_PER_S`; None where the values must tell.
    """

    doc: str
    container: str
    columns: Mapping[str, str]
    unit: str | None = None


def _format(doc: str, container: str, unit: str | None, arrival: str, prompt: str, output: str) -> Format:
    return Format(doc, container, dict(zip(ROLES, (arrival, prompt, output), strict=True)), unit)


_AZURE = ("csv", None, "TIMESTAMP", "ContextTokens", "GeneratedTokens")
FORMATS: dict[str, Format] = {
    "azure-2023": _format("Azure LLM inference trace 2023", *_AZURE),
    "azure-2024": _format("Azure LLM inference trace 2024", *_AZURE),
    "tokenfleet": _format("as this command writes it", "csv", "s", "arrival_s", "prompt_tokens", "output_tokens"),
    "burstgpt": _format("BurstGPT", "csv", "s", "Timestamp", "Request tokens", "Response tokens"),
    "mooncake": _format("Mooncake", "jsonl", "ms", "timestamp", "input_length", "output_length"),
    "vllm-bench": _format(
        "vllm bench serve --save-result --save-detailed", "json", "s", "start_times", "input_lens", "output_lens"
    ),
}
CONTAINERS: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".csv.gz"),
    "jsonl": (".jsonl", ".jsonl.gz"),
    "json": (".json", ".json.gz"),
}
"""How a table is written -> the endings of such files."""


def container_of(name: str) -> str | None:
    """How a file of this name is written, None where no ending tells.

    >>> container_of("week.csv.gz"), container_of("week.parquet")
    ('csv', None)
    """
    return next((container for container, suffixes in CONTAINERS.items() if name.endswith(suffixes)), None)


def recognise(container: str, names: Collection[str]) -> Format | None:
    """The first format of a container whose column of times is there, else the first whose two of lengths are.

    >>> [form and form.doc for form in (recognise("csv", ("when", *rest)) for rest in ([], ["prompt_tokens"]))]
    [None, None]
    >>> form = recognise("csv", ("when", "prompt_tokens", "output_tokens"))
    >>> form.columns["arrival"] if form else None
    'arrival_s'
    """
    of_container = [known for known in FORMATS.values() if known.container == container]
    timed = next((known for known in of_container if known.columns["arrival"] in names), None)
    lengths = (known for known in of_container if {known.columns["prompt"], known.columns["output"]} <= set(names))
    return timed or next(lengths, None)


def mapped(base: Format | None, container: str, columns: Mapping[str, str], unit: str | None) -> Format | None:
    """A format with columns and unit as a user names them.

    Raises:
        SpecError: without a format to start from, columns are named, but not all three.
    """
    if not columns and unit is None:
        return base
    if base is None:
        missing = [role for role in ROLES if role not in columns]
        if columns and missing:
            raise SpecError([f"--column: name the column of {missing[0]} too, as in --column {missing[0]}=NAME"])
        if not columns:
            return None
        return Format("columns as named", container, dict(columns), unit)
    # A column of one's own is not in the format's unit, unless said so.
    kept = unit or (None if "arrival" in columns else base.unit)
    return replace(base, columns={**base.columns, **columns}, unit=kept)


def parser_of(unit: str) -> Callable[[Any], float]:
    """What turns a cell into ticks of a unit; it raises `ValueError` or `TypeError` for what is no time."""
    return _date_time_ns if unit == DATE else float


def unit_of(name: str, value: Any) -> str:
    """The unit of a time by its value: a date, or a count since 1970 by its size; else by the end of the name; else s.

    >>> unit_of("at", "2024-05-10T00:00:00Z"), unit_of("at", 1715299200123), unit_of("at_ms", "12.5"), unit_of("at", 3)
    ('date', 'ms', 'ms', 's')
    """
    try:
        number = abs(float(value))
    except (TypeError, ValueError):
        return DATE
    since_1970 = next((unit for least, unit in _EPOCH_UNITS if number >= least), None)
    named = next((unit for unit in ("ms", "us", "ns") if name.lower().endswith(f"_{unit}")), None)
    return since_1970 or named or "s"


def choices(formats: Sequence[str]) -> str:
    """The columns of some formats in words, for messages."""
    return " or ".join(dict.fromkeys(",".join(FORMATS[name].columns.values()) for name in formats))


def likely_columns(names: Sequence[str]) -> str:
    """The options that name three columns, as near to a file's own as their words tell.

    >>> likely_columns(("created_at", "model", "usage.prompt_tokens", "usage.completion_tokens"))
    '--column arrival=created_at --column prompt=usage.prompt_tokens --column output=usage.completion_tokens'
    >>> likely_columns(("a", "b"))
    '--column arrival=NAME --column prompt=NAME --column output=NAME'
    """
    found = {
        role: next((name for word in words for name in names if word in name.lower()), "NAME")
        for role, words in _WORDS.items()
    }
    return " ".join(f"--column {role}={shlex.quote(name)}" for role, name in found.items())


def check_name(name: str) -> Format:
    """The format of a name.

    Raises:
        SpecError: there is no such format.
    """
    if name not in FORMATS:
        raise SpecError([f"unknown format {name!r}{suggest(name, FORMATS)}"])
    return FORMATS[name]


def _date_time_ns(text: Any) -> int:
    """Nanoseconds since 1970 of `2023-11-16 18:15:46.6805900`, with or without a fraction and a UTC offset.

    Slashes after the year count as dashes, and `UTC` at the end as an offset of nothing.

    >>> _date_time_ns("1970-01-01 00:01:00.2500000"), _date_time_ns("1970/01/01 00:01:00 UTC")
    (60250000000, 60000000000)
    """
    if not isinstance(text, str):
        raise TypeError(text)
    plain = text.strip().removesuffix("UTC").strip()
    whole, point, rest = (plain.replace("/", "-") if plain[4:5] == "/" else plain).partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if point and not digits:
        raise ValueError(text)
    moment = datetime.fromisoformat((whole + rest[len(digits) :]).replace("Z", "+00:00"))
    since = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + int(digits.ljust(9, "0")[:9] or 0)
