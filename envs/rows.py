"""Rows of numbers by name: where each field stands in a row, and the view of rows that finds it there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fields import Field
from tokenfleet.envs.spec import suggest


class Layout:
    """Where each field stands in a flat row."""

    def __init__(self, fields: Sequence[Field], sizes: Mapping[str, int]) -> None:
        """Lay `fields` out one after the other; `sizes` gives the length of each axis letter."""
        self.fields = tuple(fields)
        self.sizes = dict(sizes)
        self.shapes = {f.name: tuple(sizes[letter] for letter in f.axis) for f in self.fields}
        self.offsets: dict[str, int] = {}
        self._slices: dict[str, slice] = {}
        self.width = 0
        for field in self.fields:
            first, self.width = self.width, self.width + math.prod(self.shapes[field.name])
            self.offsets[field.name] = first
            self._slices[field.name] = slice(first, self.width)

    def slice(self, name: str) -> slice:
        """The columns of a field.

        Raises:
            KeyError: there is no such field.
        """
        try:
            return self._slices[name]
        except KeyError:
            raise KeyError(f"unknown field {name!r}{suggest(name, self._slices)}") from None

    def columns(self, *names: str) -> NDArray[np.intp]:
        """The columns of some fields, one field after the other."""
        every = np.arange(self.width)
        return np.concatenate([every[self.slice(name)] for name in names])

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)


class Record:
    """A named view of rows `[N, width]`: `record["cap_w"]` is `[N, S]`, without a copy."""

    def __init__(self, layout: Layout, rows: NDArray[Any]) -> None:
        """Bind `rows` to `layout`."""
        self.layout = layout
        self.rows = rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.rows[:, self.layout.slice(name)].reshape(len(self.rows), *self.layout.shapes[name])

    def copy(self) -> Record:
        """The same numbers in memory of their own."""
        return Record(self.layout, self.rows.copy())
