"""What the columns of a log of requests are called, and what a row of it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tokenfleet.envs.fitting.columns import QUANTITIES, TIME_UNITS, moment_s, number_of, split_unit
from tokenfleet.envs.spec import MAX_TOKENS, SpecError, shown, suggest

NAMES: dict[str, tuple[str, ...]] = {
    "arrival": ("arrival", "start_time", "sent_at", "arrived_at", "timestamp"),
    "prompt": ("prompt_tokens", "input_tokens", "input_len", "prompt_len", "num_prompt_tokens"),
    "output": ("output_tokens", "completion_tokens", "output_len", "num_output_tokens"),
    "ttft": ("ttft", "time_to_first_token"),
    "e2e": ("e2e", "e2el", "e2e_latency", "latency", "end_to_end_latency"),
    "first_token": ("first_token", "first_token_time", "first_token_at"),
    "last_token": ("last_token", "last_token_time", "last_token_at", "finished_at"),
    "tpot": ("tpot", "mean_tpot", "time_per_output_token"),
}
"""Role -> what its column may be called, times without their unit, the preferred name first."""
MOMENTS = ("arrival", "first_token", "last_token")
"""Times on one clock, whose cells may be dates; the other times are durations."""
COUNTS = ("prompt", "output")
WAYS: dict[str, tuple[str, ...]] = {
    "arrival": ("arrival",),
    "prompt": ("prompt",),
    "output": ("output",),
    "ttft": ("ttft", "first_token"),
    "e2e": ("e2e", "last_token", "tpot"),
}
"""What a log must say -> the roles that say it, the first that is there being read."""
OF_RUNS = ("batch", "max_concurrency", "output_tokens_per_s")
NOTHING = ("", "nan", "none", "null")


class Request(NamedTuple):
    """Of one request; times to its first and its last token count from its arrival."""

    arrival_s: float
    prompt_tokens: float
    output_tokens: float
    ttft_s: float
    e2e_s: float


class Column(NamedTuple):
    """A column and the factor of its unit to SI; None where its name has no unit."""

    name: str
    factor: float | None


def has_arrivals(header: Collection[str]) -> bool:
    """Whether some columns say when each request came, and none how many ran at a time, as in a table of runs."""
    of_runs = {name for quantity in OF_RUNS for name in QUANTITIES[quantity].names}
    return _column("arrival", header) is not None and of_runs.isdisjoint(split_unit(name)[0] for name in header)


@dataclass(frozen=True)
class RequestColumns:
    """The columns of a log by their roles, those of `WAYS` that are read."""

    by_role: Mapping[str, Column]

    @classmethod
    def of(cls, place: str, header: Collection[str]) -> RequestColumns:
        """The columns of a log.

        Raises:
            SpecError: nothing says one of the things that a log must say, or a time has no unit.
        """
        found: dict[str, Column] = {}
        for wanted, roles in WAYS.items():
            role, column = next(((role, own) for role in roles if (own := _column(role, header))), (wanted, None))
            if column is None:
                spelt = [NAMES[way][0] + ("" if way in COUNTS else "_s") for way in roles]
                known = suggest(spelt[0], header)
                raise SpecError([f"{place}: nothing says the {wanted}; call its column {' or '.join(spelt)}{known}"])
            if column.factor is None and role not in MOMENTS:
                raise SpecError([f"{place}: column {column.name!r} has no unit; call it {_with_units(column.name)}"])
            found[role] = column
        return cls(found)

    def request(self, place: str, row: Mapping[str, Any]) -> Request | None:
        """What a row says; None of a request that got no answer: it has no output or no times.

        Raises:
            SpecError: the first value that cannot be.
        """
        absent = {role for role, column in self.by_role.items() if _is_nothing(row.get(column.name))}
        has_no_times = self._of("ttft") in absent and self._of("e2e") in absent
        if "output" in absent or has_no_times or not self._value(place, row, "output"):
            return None
        arrival_s, output = self._value(place, row, "arrival"), self._value(place, row, "output")
        ttft_s = self._value(place, row, self._of("ttft"))
        if self._of("ttft") == "first_token":
            ttft_s -= arrival_s
        e2e_s = self._value(place, row, self._of("e2e"))
        if self._of("e2e") == "last_token":
            e2e_s -= arrival_s
        elif self._of("e2e") == "tpot":
            e2e_s = ttft_s + e2e_s * (output - 1.0)
        return checked(place, Request(arrival_s, self._value(place, row, "prompt"), output, ttft_s, e2e_s))

    def _of(self, wanted: str) -> str:
        return next(role for role in WAYS[wanted] if role in self.by_role)

    def _value(self, place: str, row: Mapping[str, Any], role: str) -> float:
        name, factor = self.by_role[role]
        value = row.get(name)
        if role in COUNTS:
            return number(place, name, value)
        if role in MOMENTS and isinstance(value, str) and number_of(value) is None:
            return moment_s(place, name, value)
        if factor is None:
            raise SpecError([f"{place}: {name}: must be a date, or call it {_with_units(name)} (got {shown(value)})"])
        return factor * number(place, name, value)


def checked(place: str, request: Request) -> Request:
    """A request that can be.

    Raises:
        SpecError: its tokens are no counts, or its first token came before it or after its last.
    """
    for name, tokens, least in (("prompt", request.prompt_tokens, 1), ("answer", request.output_tokens, 0)):
        if not (tokens.is_integer() and least <= tokens <= MAX_TOKENS):
            raise SpecError([f"{place}: the {name} must be a whole number of tokens, from {least} (got {tokens:g})"])
    if request.output_tokens >= 1 and not 0.0 < request.ttft_s <= request.e2e_s:
        times = f"got {request.ttft_s:g} s for the first and {request.e2e_s:g} s for the last"
        raise SpecError([f"{place}: the first token must come after the request, not after the last ({times})"])
    return request


def number(place: str, name: str, value: Any) -> float:
    """A finite number.

    Raises:
        SpecError: it is none.
    """
    found = number_of(value)
    if found is None:
        raise SpecError([f"{place}: {name}: must be a number (got {shown(value)})"])
    return found


def _column(role: str, header: Collection[str]) -> Column | None:
    """The column of a role, one with a unit before one without."""
    parts = {column: split_unit(column) for column in header}
    for name in NAMES[role]:
        if role in COUNTS:
            found = [Column(column, 1.0) for column, part in parts.items() if part == (name, "")]
        else:
            own = [(column, unit) for column, (base, unit) in parts.items() if base == name]
            found = [Column(column, TIME_UNITS[unit]) for column, unit in own if unit in TIME_UNITS]
            found += [Column(column, None) for column, unit in own if unit == ""]
        if found:
            return found[0]
    return None


def _with_units(name: str) -> str:
    return " or ".join(f"{name.lower()}_{unit}" for unit in TIME_UNITS)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in NOTHING) or value != value
