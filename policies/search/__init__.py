"""Searches without gradients: candidates are asked for, and their values told.

A search is a function of its seed and of the values that it was told. So an interrupted search is restored by telling a
fresh one the same values (`replay`); nothing else needs to be kept.

| module | what |
|---|---|
| `covariance` | CMA-ES |
| `recorded` | the loop of a search whose values are on file |
| `pairs` | OpenAI's evolution strategy and augmented random search, over antithetic pairs |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


class Search(Protocol):
    """A search for D numbers of high value.

    Attributes:
        centre: its present estimate of the best numbers, `[D]`.
    """

    centre: Float64Array

    def ask(self) -> Float64Array:
        """The candidates of the next generation, `[P, D]`."""

    def tell(self, values: NDArray[np.generic]) -> None:
        """The values `[P]` of the candidates that were asked for; NaN counts as the worst."""


def replay(search: Search, told: Iterable[NDArray[np.generic]]) -> None:
    """Bring a fresh search to the state of one that was told these values, a row `[P]` for each generation."""
    for values in told:
        search.ask()
        search.tell(values)


def ranked(values: NDArray[np.generic]) -> Float64Array:
    """Ranks of values, spread evenly over [-0.5, 0.5]; equal values share a rank, and NaN is the worst.

    >>> ranked(np.array([3.0, 1.0, np.nan, 3.0])).round(3).tolist()
    [0.333, -0.167, -0.5, 0.333]
    """
    known = finite(values)
    below = (known[:, None] > known[None, :]).sum(axis=1)
    equal = (known[:, None] == known[None, :]).sum(axis=1)
    shared: Float64Array = (below + (equal - 1) / 2) / max(len(known) - 1, 1) - 0.5
    return shared


def finite(values: NDArray[np.generic]) -> Float64Array:
    """The values, with one below all finite ones in place of those that are not finite."""
    known = np.asarray(values, np.float64)
    good = np.isfinite(known)
    lowest = known[good].min() if good.any() else 0.0
    return np.where(good, known, lowest - 1.0)
