"""How the arrays for engines are declared: once, as a field of a record, with everything known of the array.

Three kinds of records are declared so: the columns of a fleet (`engine.columns`), the series of an episode (`episode`)
and the controls (`layers.scheduling`). `engine.checks` checks arrays against their declarations. The native engine,
when imported, compares the declarations with its own lists. Fleets built by hand get the neutral values where nothing
is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES: dict[str, type[np.generic]] = {
    "Float64Array": np.float64,
    "Float32Array": np.float32,
    "Int64Array": np.int64,
    "BoolArray": np.bool_,
}
LARGEST = float(np.finfo(np.float64).max)
"""As an upper bound it allows every finite number."""
_METADATA = "quantity"
_READ: dict[type[Any], tuple[Quantity, ...]] = {}


@dataclass(frozen=True)
class Quantity:
    """A named array.

    Attributes:
        name: the field's.
        dtype: of the array, from the field's annotation.
        axis: letters of `tokenfleet.envs.fields.AXES`, one a dimension.
        unit: as a reader says it; empty for indices, counts, shares and flags.
        doc: what it means.
        low, high: bounds of the values, both included; NaN lies outside of all bounds.
        index_of: letter of the axis whose indices the values are; its length bounds them; empty for other values.
        neutral: what does nothing, or does it plainly: the value where none is given.
        optional: whether None stands for `neutral`.
        of: the value of one pool, class, site or node, from the source that the record names; for an array between two
            of them, the whole array from the scenario.
    """

    name: str
    dtype: type[np.generic]
    axis: str
    unit: str
    doc: str
    low: float
    high: float
    index_of: str
    neutral: Any
    optional: bool
    of: Callable[[Any], Any]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """From the length of each axis letter."""
        return tuple(sizes[letter] for letter in self.axis)

    def problems(self, values: Any, sizes: Mapping[str, int], where: str) -> list[str]:
        """One line if `values` have another shape, or any of them lies outside of the bounds."""
        if values is None and self.optional:
            return []
        if np.shape(values) != self.shape(sizes):
            return [f"{where}.{self.name}: shape {np.shape(values)}, need {self.shape(sizes)}"]
        high = sizes[self.index_of] - 1 if self.index_of else self.high
        return outside(f"{where}.{self.name}", np.asarray(values), self.low, high)


def quantity(
    axis: str,
    unit: str,
    doc: str,
    of: Callable[[Any], Any] = NotImplemented,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    index_of: str = "",
    neutral: Any = 0,
    optional: bool = False,
) -> Any:
    """A dataclass field that is a quantity; see `Quantity`. An optional one may be left out of the constructor."""
    given = {"axis": axis, "unit": unit, "doc": doc, "of": of, "low": low, "high": high, "index_of": index_of}
    metadata = {_METADATA: {**given, "neutral": neutral, "optional": optional}}
    return dataclasses.field(default=None, metadata=metadata) if optional else dataclasses.field(metadata=metadata)


def quantities_of(record: type[Any]) -> tuple[Quantity, ...]:
    """The quantities that a record declares itself or inherits, in order; read once."""
    if record not in _READ:
        _READ[record] = _read(record)
    return _READ[record]


def _read(record: type[Any]) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(
            name=declared.name,
            dtype=_DTYPES[str(declared.type).removesuffix(" | None")],
            **declared.metadata[_METADATA],
        )
        for declared in dataclasses.fields(record)
        if _METADATA in declared.metadata
    )


def read_quantities(record: type[Any], sources: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Every array of a record, from one source for each pool, class, site or node."""
    return {q.name: np.array([q.of(source) for source in sources], dtype=q.dtype) for q in quantities_of(record)}


def neutral_arrays(record: type[Any], sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Every array of a record at its neutral value; `sizes` gives the length of each axis letter."""
    return {q.name: np.full(q.shape(sizes), q.neutral, q.dtype) for q in quantities_of(record)}


def record_problems(
    record: Any, sizes: Mapping[str, int], where: str, checks_bounds_of: Container[str] | None = None
) -> list[str]:
    """One line for each quantity of a record that is not as declared.

    Args:
        record: the record.
        sizes: length of each axis letter.
        where: what to call it.
        checks_bounds_of: the quantities whose values are looked at, by default all; the shape of every one is.
    """
    problems = []
    kind: Any = type(record)
    for q, shape in _wanted(kind, tuple(sizes.items())):
        values = getattr(record, q.name)
        leaves_values = checks_bounds_of is not None and q.name not in checks_bounds_of
        if not (leaves_values and getattr(values, "shape", None) == shape):
            problems += q.problems(values, sizes, where)
    return problems


@lru_cache(maxsize=64)
def _wanted(record: type[Any], sizes: tuple[tuple[str, int], ...]) -> tuple[tuple[Quantity, tuple[int, ...]], ...]:
    """The quantities of a record and the shape that each must have."""
    return tuple((q, q.shape(dict(sizes))) for q in quantities_of(record))


def outside(name: str, values: NDArray[Any], low: float, high: float) -> list[str]:
    """One line if any value is not within [low, high]."""
    values = distinct(values)
    if not values.size or (
        low <= np.minimum.reduce(values, axis=None) and np.maximum.reduce(values, axis=None) <= high
    ):
        return []
    bad = values[~((values >= low) & (values <= high))].flat[0]
    allowed = (
        "a finite number"
        if (low, high) == (-LARGEST, LARGEST)
        else f"{low:g} or more, and finite"
        if high == LARGEST
        else f"{low:g} to {high:g}"
        if np.isfinite([low, high]).all()
        else "a number"
        if low < 0
        else f"{low:g} or more"
    )
    return [f"{name}: must be {allowed} (got {bad!s})"]


def distinct(column: NDArray[Any]) -> NDArray[Any]:
    """The column, or its first entry alone where a column of equal values is a single number in memory."""
    return column[:1] if column.strides == (0,) else column
