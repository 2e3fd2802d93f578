"""What the columns of a table of runs, or the keys of a benchmark's JSON, are called; values come out in SI units.

A time or a power carries its unit in its name, `median_itl_ms` or `median_itl [ms]`. The names that
`vllm bench serve --save-result` writes are understood as they are.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from tokenfleet.envs.spec import SpecError

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
POWER_UNITS = {"w": 1.0, "kw": 1e3, "mw": 1e-3}
SPELT_OUT = {"watts": "w", "watt": "w", "seconds": "s", "sec": "s", "joules": "j"}
"""Units in words, as benchmarks write them, and their signs."""
UNITS = (*TIME_UNITS, *POWER_UNITS, "mhz", "ghz", "j", "kj", *SPELT_OUT)
LIKELY_MISSPELT = 0.85  # likeness of an unknown column to one that is missing
_BRACKETS = re.compile(r"\s*[\[(]\s*(.*?)\s*[\])]$")
_DATE_FORMATS = ("%Y%m%d-%H%M%S", "%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S")


@dataclass(frozen=True)
class MeasuredColumn:
    """One quantity of a run.

    Attributes:
        doc: what it is.
        names: what it may be called, the preferred name first, without its unit.
        units: unit -> its value in SI, for a quantity whose name must carry one; none for plain numbers.
    """

    doc: str
    names: tuple[str, ...]
    units: Mapping[str, float] | None = None

    def spelt(self) -> str:
        """The preferred name, with the unit that people mostly use."""
        return self.names[0] + (f"_{UNIT_IN_USE[next(iter(self.units))]}" if self.units else "")


UNIT_IN_USE = {"s": "ms", "w": "w"}
QUANTITIES: dict[str, MeasuredColumn] = {
    "batch": MeasuredColumn("mean number of sequences that run at a time", ("batch", "avg_batch_size")),
    "max_concurrency": MeasuredColumn("most requests in flight", ("max_concurrency",)),
    "prompt_tokens": MeasuredColumn("mean prompt", ("prompt_tokens", "mean_prompt_tokens", "avg_prompt_len")),
    "output_tokens": MeasuredColumn("mean answer", ("output_tokens", "mean_output_tokens", "avg_output_len")),
    "context_tokens": MeasuredColumn("mean context of a decoding sequence", ("context_tokens", "mean_context_tokens")),
    "output_tokens_per_s": MeasuredColumn(
        "rate of generation", ("output_tokens_per_s", "output_throughput", "output_throughput_tokens_per_sec")
    ),
    "completed": MeasuredColumn("requests that were answered", ("completed",)),
    "total_input_tokens": MeasuredColumn("prompt tokens of all requests", ("total_input_tokens",)),
    "total_output_tokens": MeasuredColumn("generated tokens of all requests", ("total_output_tokens",)),
    "duration": MeasuredColumn("length of the run in seconds", ("duration", "duration_s")),
    "median_itl": MeasuredColumn("median inter-token latency", ("median_itl",), TIME_UNITS),
    "mean_tpot": MeasuredColumn(
        "mean time per output token", ("mean_tpot", "mean_itl", "tpot", "median_tpot"), TIME_UNITS
    ),
    "ttft": MeasuredColumn("time to first token", ("ttft", "median_ttft", "mean_ttft"), TIME_UNITS),
    "power": MeasuredColumn("mean power, summed over the boards", ("power", "mean_power", "avg_power"), POWER_UNITS),
}
SWEEP_STARTS = ("clock_", "power_limit")  # columns of tables of the command `clocks`
TEXTS = ("run", "start", "end", "date")
Ways = tuple[tuple[str, ...], ...]
NEEDS: dict[str, Ways] = {
    "the batch": (("batch",), ("max_concurrency",), ("output_tokens_per_s", "mean_tpot")),
    "the prompt": (("prompt_tokens",), ("total_input_tokens", "completed")),
    "the answer": (("output_tokens",), ("total_output_tokens", "completed")),
    "the speed": (("median_itl",), ("mean_tpot",), ("ttft",), ("output_tokens_per_s",)),
}
"""What every run must say, and the quantities that say it."""


@dataclass(frozen=True)
class Heading:
    """A column that is understood: its quantity, its rank among the quantity's names, and the factor to SI."""

    quantity: str
    rank: int
    factor: float


def headings(place: str, names: Iterable[str]) -> tuple[dict[str, Heading], list[str]]:
    """The columns that are understood by name, and the others.

    Args:
        place: file and line, for messages.
        names: as the file has them.

    Raises:
        SpecError: a unit is missing, a name is likely misspelt, or the columns do not describe a run.
    """
    known, unknown, problems = {}, [], []
    for name in names:
        heading = _heading(name)
        if heading is not None:
            known[name] = heading
        elif _plain(name) in _WITH_UNITS:
            problems.append(f"{place}: column {name!r} has no unit; call it {_unit_choices(_plain(name))}")
        elif _plain(name) not in TEXTS:
            unknown.append(name)
    present = {heading.quantity for heading in known.values()}
    problems = problems or _misspelt(place, unknown, present) or missing(place, present)
    if problems and any(_plain(name).startswith(SWEEP_STARTS) for name in unknown):
        problems = [
            *problems,
            f"{place}: a sweep of clocks or power limits is fitted by `clocks`, typed before the file",
        ]
    if problems:
        raise SpecError(problems)
    return known, unknown


def missing(place: str, present: Collection[str]) -> list[str]:
    """One line for each thing that a run must say and does not."""
    return [
        f"{place}: nothing says {what}; give {_ways(ways)}"
        for what, ways in NEEDS.items()
        if not any(set(way) <= set(present) for way in ways)
    ]


def quantities(place: str, known: Mapping[str, Heading], row: Mapping[str, Any]) -> dict[str, float]:
    """The quantities that a row gives, in SI units.

    Args:
        place: file and line.
        known: from `headings`.
        row: column -> value; an empty cell or null gives nothing.

    Raises:
        SpecError: one line for each value that is not a number above 0; a time between tokens may be 0, which gives
            nothing.
    """
    found, problems = {}, []
    for name in sorted(known, key=lambda name: -known[name].rank):
        value = row.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        number = number_of(value)
        if number is None or (number < 0.0 or (number == 0.0 and known[name].quantity not in _NONE_OF_IT)):
            problems.append(f"{place}: {name}: must be a number above 0 (got {value!r})")
        elif number > 0.0:
            found[known[name].quantity] = number * known[name].factor
    if problems:
        raise SpecError(problems)
    return found


def number_of(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def moment_s(place: str, name: str, text: Any) -> float:
    """Seconds since 1970 of a time stamp; a time without an offset counts as UTC.

    >>> moment_s("log.csv:2", "timestamp", "2026/03/01 00:00:01.500") - moment_s("", "", "20260301-000000")
    1.5

    Raises:
        SpecError: it is no time.
    """
    words = str(text).strip()
    number = number_of(words)
    if number is not None:
        return number
    for parse in (datetime.fromisoformat, *(_parser(form) for form in _DATE_FORMATS)):
        try:
            moment: datetime = parse(words.replace("Z", "+00:00"))
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    form = "2026-03-01 12:00:00, 2026/03/01 12:00:00.000 or seconds since 1970"
    raise SpecError([f"{place}: {name}: not a time (got {text!r}); write {form}"])


def split_unit(name: str) -> tuple[str, str]:
    """A name and its unit: `power.draw [W]` and `power.draw_w` are both `("power.draw", "w")`.

    >>> split_unit("power.draw [W]"), split_unit("avg_power_watts"), split_unit("batch")
    (('power.draw', 'w'), ('avg_power', 'w'), ('batch', ''))
    """
    plain = _plain(name)
    base, _, unit = plain.rpartition("_")
    return (base, SPELT_OUT.get(unit, unit)) if base and unit in UNITS else (plain, "")


def _plain(name: str) -> str:
    """Lower case, with a unit in brackets as a suffix, and underscores for spaces."""
    return "_".join(_BRACKETS.sub(r"_\1", name.strip().lstrip("\ufeff")).lower().split())


def _heading(name: str) -> Heading | None:
    if _plain(name) in _PLAIN:
        return Heading(*_PLAIN[_plain(name)], 1.0)
    base, unit = split_unit(name)
    if base in _WITH_UNITS and unit in _units(base):
        return Heading(*_WITH_UNITS[base], _units(base)[unit])
    return None


def _units(base: str) -> Mapping[str, float]:
    return QUANTITIES[_WITH_UNITS[base][0]].units or {}


def _unit_choices(base: str) -> str:
    return " or ".join(f"{base}_{unit}" for unit in _units(base))


def _misspelt(place: str, unknown: Iterable[str], present: Collection[str]) -> list[str]:
    absent = [quantity.spelt() for key, quantity in QUANTITIES.items() if key not in present]
    near = {name: difflib.get_close_matches(_plain(name), absent, 1, LIKELY_MISSPELT) for name in unknown}
    return [
        f"{place}: unknown column {name!r}; did you mean {found[0]!r}? (rename it, or leave it out)"
        for name, found in near.items()
        if found
    ]


def _ways(ways: Ways) -> str:
    return ", or ".join(" and ".join(repr(QUANTITIES[key].spelt()) for key in way) for way in ways)


def _parser(form: str) -> Any:
    return lambda text: datetime.strptime(text, form)


_PLAIN = {
    name: (key, rank)
    for key, quantity in QUANTITIES.items()
    if quantity.units is None
    for rank, name in enumerate(quantity.names)
}
_WITH_UNITS = {
    name: (key, rank)
    for key, quantity in QUANTITIES.items()
    if quantity.units is not None
    for rank, name in enumerate(quantity.names)
}
_NONE_OF_IT = ("median_itl", "mean_tpot")  # vLLM writes 0 where no answer has a second token
