"""Hourly series of one year: a YAML with meaning and source of each column, and the table beside it.

| format | recognised by | holds |
|---|---|---|
| compact | `.npz` | one array of 8,760 numbers for each column |
| text | `.csv` | a header with the columns' names, then 8,760 rows |

Hours count from 1 January 00:00 UTC. The year is a ring of 365 days: 31 December is followed by 1 January, and 29
February is left out. The same unchanged file is read once per process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.catalog.published import PublishedSpec
from tokenfleet.envs.files import Version, csv_rows, read_arrays, version_of
from tokenfleet.envs.files.limits import SESSION_BYTES
from tokenfleet.envs.spec import Name, Spec, SpecError, UnitFraction, shown, suggest

Float64Array = NDArray[np.float64]

HOURS_PER_YEAR = 8760
LONGEST_TABLE = 2 * HOURS_PER_YEAR
"""Lines: a year and its header, with space for empty ones."""


class ColumnSpec(Spec):
    """What stands in a column of an hourly series.

    Attributes:
        meaning: what was measured, with its unit.
        first_h: where its first value stands [h after 1 January 00:00 UTC]: 0.5 for means over the hour that begins at
            midnight, 1 for readings at the end of it.
    """

    meaning: str
    first_h: UnitFraction = 0.5


class HourlySpec(PublishedSpec):
    """The YAML of an hourly series."""

    file: str = Field(pattern=r"^[^/\\]+\.(npz|csv)$")
    columns: dict[Name, ColumnSpec] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class HourlySeries:
    """One year of hourly values, shared by everyone who reads the same file.

    Attributes:
        spec: what its YAML says.
        columns: 8,760 values each, read only.
    """

    spec: HourlySpec
    columns: Mapping[str, Float64Array]

    def at(self, column: str, hour: Float64Array) -> Float64Array:
        """The column at `hour` [h after 1 January 00:00 UTC], of any shape, by linear interpolation around the ring.

        >>> import numpy as np
        >>> column = ColumnSpec(meaning="hours of sunshine", first_h=0.5)
        >>> spec = HourlySpec(name="sun", file="sun.csv", columns={"sun": column})
        >>> sun = HourlySeries(spec, {"sun": np.arange(8760.0)})
        >>> sun.at("sun", np.array([0.5, 1.0, 8760.0])).tolist()
        [0.0, 0.5, 4379.5]
        """
        values = self.columns[column]
        place = (hour - self.spec.columns[column].first_h) % HOURS_PER_YEAR
        before = place.astype(np.int64)
        share = place - before
        return (1.0 - share) * values.take(before, mode="wrap") + share * values.take(before + 1, mode="wrap")


def read_hourly(path: Path, spec: HourlySpec) -> HourlySeries:
    """Read the table that `spec` describes.

    Args:
        path: the table.
        spec: names the columns to read; others in the file are left alone.

    Raises:
        SpecError: what is wrong, with the file and, in text, the line.
    """
    try:
        version = version_of(path)
    except SpecError as error:
        raise SpecError([f"{problem}; series {spec.name!r} names it" for problem in error.problems]) from None
    return _read_version(path, version, spec.model_dump_json())


@lru_cache(maxsize=64)
def _read_version(path: Path, version: Version, spec_json: str) -> HourlySeries:
    """Read once for each version of the file."""
    spec = HourlySpec.model_validate_json(spec_json)
    columns = _READERS[path.suffix](path, spec.columns)
    for name, values in columns.items():
        if values.shape != (HOURS_PER_YEAR,):
            raise SpecError(
                [f"{path}: column {name!r} must hold the {HOURS_PER_YEAR} hours of a year (got shape {values.shape})"]
            )
        if not np.isfinite(values).all():
            raise SpecError([f"{path}: column {name!r} has no number for hour {int(np.argmin(np.isfinite(values)))}"])
        values.flags.writeable = False
    return HourlySeries(spec, columns)


def _read_npz(path: Path, names: Mapping[str, ColumnSpec]) -> dict[str, Float64Array]:
    arrays = read_arrays(path, SESSION_BYTES)
    _check_names(path, names, list(arrays))
    return {name: np.array(arrays[name], dtype=np.float64) for name in names}


def _read_csv(path: Path, names: Mapping[str, ColumnSpec]) -> dict[str, Float64Array]:
    rows = csv_rows(path, LONGEST_TABLE, f"a year has {HOURS_PER_YEAR} hours")
    _, header = next(rows, (1, []))
    _check_names(path, names, header)
    places = {name: header.index(name) for name in names}
    table: dict[str, list[float]] = {name: [] for name in names}
    for line, cells in rows:
        for name, values in table.items() if cells else ():
            cell = cells[places[name]] if places[name] < len(cells) else None
            try:
                values.append(float(cell or ""))
            except ValueError:
                raise SpecError([f"{path}:{line}: {name}: not a number (got {shown(cell)})"]) from None
    return {name: np.array(values) for name, values in table.items()}


def _check_names(path: Path, names: Mapping[str, ColumnSpec], found: Sequence[str]) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise SpecError([f"{path}: column {missing[0]!r} is missing{suggest(missing[0], found)}"])


_READERS = {".npz": _read_npz, ".csv": _read_csv}
