"""Matrices of round-trip times between named places: a YAML with their source, and a `.csv` beside it.

The table's first row and first column name the places, in the same order; a cell is the time that the place of its row
measured to the place of its column [ms]. The cells of a place with itself may be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.catalog.published import PublishedSpec
from tokenfleet.envs.files import Version, csv_rows, version_of
from tokenfleet.envs.spec import SpecError, counted, shown

MS_PER_S = 1e3
MOST_PLACES = 1000


class RttSpec(PublishedSpec):
    """The YAML of a matrix of round-trip times."""

    file: str = Field(pattern=r"^[^/\\]+\.csv$")


@dataclass(frozen=True, eq=False)
class RttMatrix:
    """Round-trip times between n places, shared by everyone who reads the same file.

    Attributes:
        places: their names.
        rtt_s: `[n, n]`, row pings column; NaN for a place with itself where it was not measured.
    """

    places: tuple[str, ...]
    rtt_s: NDArray[np.float64]

    def between(self, place: str, other: str) -> float:
        """Round-trip time between two places [s]; NaN for a place with itself where it was not measured.

        Both ends measure the same loop. Where their times differ, the longer one met a queue or a detour for a while,
        so the shorter one is taken.

        >>> RttMatrix(("a", "b"), np.array([[np.nan, 0.08], [0.07, np.nan]])).between("a", "b")
        0.07
        """
        row, column = self.places.index(place), self.places.index(other)
        return float(min(self.rtt_s[row, column], self.rtt_s[column, row]))


def read_rtt(path: Path) -> RttMatrix:
    """Read a matrix; the same unchanged file is read once per process.

    Raises:
        SpecError: what is wrong, with the file and the line.
    """
    return _read_version(path, version_of(path))


@lru_cache(maxsize=8)
def _read_version(path: Path, version: Version) -> RttMatrix:
    """Read once for each version of the file."""
    lines = csv_rows(path, MOST_PLACES + 1, f"a matrix has at most {MOST_PLACES} places")
    _, (_, *places) = next(((line, cells) for line, cells in lines if cells), (1, [""]))
    if not 0 < len(places) <= MOST_PLACES or len(set(places)) < len(places):
        raise SpecError([f"{path}:1: the first row must name 1 to {MOST_PLACES} places, each once (got {len(places)})"])
    rows = list(_checked(path, lines, len(places)))
    if [name for name, _ in rows] != places:
        raise SpecError([f"{path}: the first column must name the same places as the first row, each once"])
    rtt_ms = np.array([times_ms for _, times_ms in rows])
    np.fill_diagonal(rtt_ms, np.where(np.diag(rtt_ms) > 0.0, np.diag(rtt_ms), np.nan))
    if np.isnan(rtt_ms[~np.eye(len(places), dtype=bool)]).any():
        row, column = np.argwhere(np.isnan(rtt_ms) & ~np.eye(len(places), dtype=bool))[0]
        raise SpecError([f"{path}:{row + 2}: no time from {places[row]!r} to {places[column]!r}"])
    rtt_s = rtt_ms / MS_PER_S
    rtt_s.flags.writeable = False
    return RttMatrix(tuple(places), rtt_s)


def _checked(path: Path, rows: Iterable[tuple[int, list[str]]], places: int) -> Iterator[tuple[str, list[float]]]:
    """The place of every row, and its times [ms]."""
    for line, cells in rows:
        if len(cells) != places + 1:
            raise SpecError([f"{path}:{line}: {counted(len(cells) - 1, 'time')} for {counted(places, 'place')}"])
        yield cells[0], [_cell(path, line, cell) for cell in cells[1:]]


def _cell(path: Path, line: int, cell: str) -> float:
    if not cell.strip():
        return float("nan")
    try:
        time_ms = float(cell)
    except ValueError:
        time_ms = -1.0
    if not 0.0 <= time_ms < float("inf"):
        raise SpecError([f"{path}:{line}: must be a time in milliseconds (got {shown(cell)})"])
    return time_ms
