"""What a column is, and how columns are read from a scenario, checked, and filled with values that do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = {
    "S": "sites",
    "N": "power nodes: the grid connections of all sites, then all rows",
    "P": "pools",
    "J": "knots of tokens in an iteration",
    "K": "request classes",
    "G": "regions of clients",
}
"""What the letters of an axis stand for."""

_DTYPES: dict[str, type[np.generic]] = {"Float64Array": np.float64, "Int64Array": np.int64, "BoolArray": np.bool_}
_METADATA = "column"


@dataclass(frozen=True)
class Column:
    """A quantity of the fleet.

    Attributes:
        name: the field's.
        axis: letters of `AXES`, one a dimension.
        unit: as a reader says it; empty for indices, counts of things named by the column, and flags.
        doc: what it means.
        dtype: of the array, from the field's annotation.
        of: the value of one pool, class, site or node, from the record's own source; for two letters of axes, the whole
            array from the scenario.
        neutral: what does nothing, or does it plainly: the value of fleets that are built without a scenario.
        low, high: bounds of the value, both included; NaN lies outside of all bounds.
    """

    name: str
    axis: str
    unit: str
    doc: str
    dtype: type[np.generic]
    of: Callable[[Any], Any]
    neutral: Any
    low: float
    high: float


def column(
    axis: str,
    unit: str,
    doc: str,
    of: Callable[[Any], Any],
    *,
    neutral: Any = 0,
    low: float = -np.inf,
    high: float = np.inf,
) -> Any:
    """A dataclass field that is a column; see `Column`."""
    given = {"axis": axis, "unit": unit, "doc": doc, "of": of, "neutral": neutral, "low": low, "high": high}
    return field(metadata={_METADATA: given})


def columns_of(record: type[Any]) -> Iterator[Column]:
    """The columns that a record declares itself or inherits, in order."""
    for declared in fields(record):
        if _METADATA in declared.metadata:
            yield Column(name=declared.name, dtype=_DTYPES[str(declared.type)], **declared.metadata[_METADATA])


def read_columns(record: type[Any], sources: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Every column of a record, from one source for each pool, class, site or node."""
    return {
        column.name: np.array([column.of(source) for source in sources], dtype=column.dtype)
        for column in columns_of(record)
    }


def neutral_columns(record: type[Any], sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Every column at its neutral value; `sizes` gives the length of each axis letter."""
    return {
        column.name: np.full([sizes[letter] for letter in column.axis], column.neutral, column.dtype)
        for column in columns_of(record)
    }
