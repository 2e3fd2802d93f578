"""The loop of a search whose values are on file: a resumed search measures nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

import numpy as np

from tokenfleet.policies.search import Float64Array, Search

Item = TypeVar("Item")
Measure = Callable[[Float64Array, int], Sequence[float] | None]
"""The values of candidates `[P, D]` in a generation, from the file where they are known; None to end the search."""


def centres_of(search: Search, generations: int | None, measure: Measure) -> list[Float64Array]:
    """Search for numbers of high value.

    Args:
        search: fresh.
        generations: at most; None for as many as `measure` has time for.
        measure: see `Measure`.

    Returns:
        The first centre, and the centre after each generation.
    """
    centres = [np.array(search.centre)]
    for generation in count() if generations is None else range(generations):
        told = measure(search.ask(), generation)
        if told is None:
            break
        search.tell(np.asarray(told))
        centres.append(np.array(search.centre))
    return centres


def thirds(centres: Sequence[Item]) -> list[Item]:
    """The first centre of a search, and the centre after each third of its generations.

    >>> thirds(range(17))
    [0, 5, 10, 16]
    """
    last = len(centres) - 1
    return [centres[index] for index in sorted({0, last // 3, 2 * last // 3, last})]
