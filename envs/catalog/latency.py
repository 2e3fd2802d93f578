"""Matrices of round-trip times between named places: a YAML that says where they come from, and a `.csv` beside it.

The table's first row and first column name the places, in the same order; a cell is the time that the place of its row
measured to the place of its column [ms]. The cells of a place with itself may be empty.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.spec import Name, Spec, SpecError

MS_PER_S = 1e3


class RttSpec(Spec):
    """The YAML of a matrix of round-trip times."""

    name: Name
    description: str = ""
    file: str = Field(pattern=r"^[^/\\]+\.csv$")
    source: str = ""
    license: str = ""
    attribution: str = ""


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
    try:
        status = path.stat()
        return _read_version(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise SpecError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([f"{path}: cannot be read: {error}"]) from None


@lru_cache(maxsize=8)
def _read_version(path: Path, modified_ns: int, size_bytes: int) -> RttMatrix:
    """Read once for each version of the file; time and size are the key of that version."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        (_, *places), *rows = list(csv.reader(lines)) or [[""]]
    if len(set(places)) < len(places) or [row[0] if row else "" for row in rows] != places:
        raise SpecError([f"{path}: the first column must name the same places as the first row, each once"])
    rtt_ms = np.array([[_cell(path, line, cell) for cell in row[1:]] for line, row in _numbered(path, rows, places)])
    np.fill_diagonal(rtt_ms, np.where(np.diag(rtt_ms) > 0.0, np.diag(rtt_ms), np.nan))
    if np.isnan(rtt_ms[~np.eye(len(places), dtype=bool)]).any():
        row, column = np.argwhere(np.isnan(rtt_ms) & ~np.eye(len(places), dtype=bool))[0]
        raise SpecError([f"{path}:{row + 2}: no time from {places[row]!r} to {places[column]!r}"])
    rtt_s = rtt_ms / MS_PER_S
    rtt_s.flags.writeable = False
    return RttMatrix(tuple(places), rtt_s)


def _numbered(path: Path, rows: list[list[str]], places: list[str]) -> list[tuple[int, list[str]]]:
    for line, row in enumerate(rows, start=2):
        if len(row) != len(places) + 1:
            raise SpecError([f"{path}:{line}: {len(row) - 1} times for {len(places)} places"])
    return list(enumerate(rows, start=2))


def _cell(path: Path, line: int, cell: str) -> float:
    if not cell.strip():
        return float("nan")
    try:
        time_ms = float(cell)
    except ValueError:
        time_ms = -1.0
    if not 0.0 <= time_ms < float("inf"):
        raise SpecError([f"{path}:{line}: must be a time in milliseconds (got {cell!r})"])
    return time_ms
