"""Clients of a service out of ServeGen's tables: rates by window, and token counts.

The tables are ServeGen's files of every client put together, as CSV:

| table | columns |
|---|---|
| client_rates | model, client, window_start_s, rate_rps, iat_family (Gamma or Weibull), param1 (its shape) |
| client_token_stats | model, client, field (input_tokens or output_tokens), p10, p50, p90, p99 |
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import csv_table
from tokenfleet.envs.spec import SpecError, shown, suggest
from tokenfleet.envs.traces import ClientTable

RATES, TOKENS = "client_rates", "client_token_stats"
PROBABILITIES = (0.01, 0.1, 0.5, 0.9, 0.99)
LEVELS = ("p10", "p50", "p90", "p99")
_RATE_COLUMNS = ("model", "client", "window_start_s", "rate_rps", "iat_family", "param1")
_TOKEN_COLUMNS = ("model", "client", "field", *LEVELS)
Array = NDArray[np.float64]
Rates = list[tuple[int, float, float, str, float]]
Tokens = dict[tuple[str, int], list[list[float]]]


def read_clients_of(folder: Path, model: str | None) -> ClientTable:
    """The clients of one model.

    Args:
        folder: holds both tables, gzipped or not.
        model: which; may be left out where there is only one.

    Raises:
        SpecError: a table is missing or holds what it must not, or the model is unknown.
    """
    rate_rows, token_rows = ([*_rows(_table(folder, name), names)] for name, names in _TABLES)
    models = sorted({cells[0] for _, cells in rate_rows})
    if model is None and len(models) == 1:
        model = models[0]
    if model not in models:
        raise SpecError([f"--model: {'unknown ' + repr(model) if model else 'say which'}{suggest(model, models)}"])
    rates: Rates = [
        (int(_number(place, client)), _number(place, start), _number(place, rate), family, _number(place, shape))
        for place, (of, client, start, rate, family, shape) in rate_rows
        if of == model
    ]
    tokens: Tokens = {}
    for place, (of, client, field, *levels) in token_rows:
        if of == model:
            row = tokens.setdefault((field, int(_number(place, client))), [])
            row.append([_number(place, level) for level in levels])
    return clients(rates, tokens)


def clients(rates: Rates, tokens: Tokens) -> ClientTable:
    """A table of clients.

    Args:
        rates: rows (client, start of the window [s], rate [requests/s], family of the gaps, their shape).
        tokens: (field, client) -> the quantiles of every window.
    """
    client, start_s, rate_rps, family, shape = (np.array(column) for column in zip(*rates, strict=True))
    known = np.unique(client)
    window_s = float(np.diff(np.unique(start_s)).min())
    place = (np.searchsorted(known, client), (start_s / window_s).astype(int))
    size = (len(known), int(place[1].max()) + 1)
    columns = {name: np.zeros(size, np.float32) for name in ("rate_rps", "shape")}
    columns["rate_rps"][place] = _digits(rate_rps, 4)
    columns["shape"][place] = _digits(shape, 3)
    weibull = np.zeros(size, np.bool_)
    weibull[place] = family == "Weibull"
    return ClientTable(
        window_s=np.array([window_s]),
        weibull=weibull,
        prompt_tokens=_token_quantiles(tokens, "input_tokens", known),
        output_tokens=_token_quantiles(tokens, "output_tokens", known),
        probabilities=np.array(PROBABILITIES),
        **columns,
    )


def _token_quantiles(tokens: Tokens, field: str, known: NDArray[np.int64]) -> NDArray[np.float32]:
    """Quantiles of each client, medians over its windows; the lowest is extrapolated from the two above it."""
    medians = {client: np.median(rows, axis=0) for (of, client), rows in tokens.items() if of == field}
    if not medians:
        raise SpecError([f"{TOKENS}: nothing says the {field} of this model"])
    everyone = np.median(list(medians.values()), axis=0)
    filled = np.array([medians.get(int(client), everyone) for client in known])
    lowest = np.maximum(filled[:, 0] * (filled[:, 0] / filled[:, 1]) ** 0.8, 1.0)
    return np.column_stack([lowest, filled]).astype(np.float32)


def _digits(values: Array, digits: int) -> NDArray[np.float32]:
    """Rounded to significant digits, which compress better."""
    return np.array([float(f"{value:.{digits}g}") for value in values], np.float32)


_TABLES = ((RATES, _RATE_COLUMNS), (TOKENS, _TOKEN_COLUMNS))


def _table(folder: Path, name: str) -> Path:
    found = [path for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if path.is_file()]
    if not found:
        raise SpecError([f"{folder}: no {name}.csv or {name}.csv.gz in it; give the folder of ServeGen's two tables"])
    return found[0]


def _rows(path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of the columns that are asked for."""
    header, rows = csv_table(path)
    missing = [name for name in names if name not in header]
    if missing:
        raise SpecError([f"{path}:1: column {missing[0]!r} is missing{suggest(missing[0], header)}"])
    places = [header.index(name) for name in names]
    for line, cells in rows:
        yield f"{path}:{line}", [cells[at] for at in places]


def _number(place: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value < float("inf"):
        raise SpecError([f"{place}: must be a number, 0 or more (got {shown(text)})"])
    return value
