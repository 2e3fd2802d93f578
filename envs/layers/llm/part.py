"""Layer 4, parts of an iteration: times that add up, and how much of them the core's clock does not change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
JOIN_POWER = 4.0


class Part(NamedTuple):
    """A part of an iteration, by its number of tokens.

    Attributes:
        time_s: `[J]` [s].
        memory_share: share of it that no clock of the core changes, `[J]`.
    """

    time_s: Float64Array
    memory_share: Float64Array


def together(parts: list[Part]) -> Part:
    """Several parts, one after the other.

    >>> parts = [Part(np.array([3.0]), np.array([1.0])), Part(np.array([1.0]), np.array([0.0]))]
    >>> together(parts).time_s.tolist(), together(parts).memory_share.tolist()
    ([4.0], [0.75])
    """
    time_s = np.sum([part.time_s for part in parts], axis=0)
    memory_s = np.sum([part.time_s * part.memory_share for part in parts], axis=0)
    return Part(time_s, memory_s / np.maximum(time_s, np.finfo(np.float64).tiny))


def joined_s(memory_s: Float64Array, compute_s: Float64Array) -> Float64Array:
    """Time of products that are bound by memory and by arithmetic, the fourth-power mean of both, `[...]` [s].

    >>> round(float(joined_s(np.array(3.0), np.array(3.0))), 3), round(float(joined_s(np.array(3.0), np.array(1.0))), 3)
    (3.568, 3.009)
    """
    return np.asarray((memory_s**JOIN_POWER + compute_s**JOIN_POWER) ** (1.0 / JOIN_POWER))


def memory_share(memory_s: Float64Array, compute_s: Float64Array) -> Float64Array:
    """Share of the joined time that is bound by memory, `[...]`.

    >>> float(memory_share(np.array(3.0), np.array(3.0)))
    0.5
    """
    return np.asarray(memory_s**JOIN_POWER / (memory_s**JOIN_POWER + compute_s**JOIN_POWER))


def joined_part(memory_s: Float64Array, compute_s: Float64Array) -> Part:
    """The part of products with these two times, `[J]`."""
    return Part(joined_s(memory_s, compute_s), memory_share(memory_s, compute_s))
