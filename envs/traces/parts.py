"""Cut a record into the parts of train, validation and test, each on a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.traces.deal import deal

IntArray = NDArray[np.int64]
Float64Array = NDArray[np.float64]

BLOCKS = 50
"""Of equal length, that a record is cut into: ten rounds of five."""
BIN_S = 5.0
"""Squared counts in bins of so many seconds stand for how bursty a block is."""


@dataclass(frozen=True, eq=False)
class Part:
    """What one split has of a record: the events of its blocks, on a clock that runs in its blocks only.

    Attributes:
        row: the events, `[M]`, rising.
        at_s: when each comes on the part's clock, `[M]`, rising [s].
        span_s: length of its blocks together [s].
    """

    row: IntArray
    at_s: Float64Array
    span_s: float


def parts(at_s: Float64Array, span_s: float, amounts: Float64Array) -> tuple[Part, ...]:
    """The parts of train, validation and test of a record; no two share an event.

    The record is cut into `BLOCKS`, which are dealt so that the parts have alike rates, amounts and burstiness
    (`deal`). Within a block the recorded gaps stay as they were, but for the part's pace: its clock runs so much faster
    or slower, by under a hundredth in a record of many events, that all parts have the same rate.

    Args:
        at_s: when each event came, `[R]`, not decreasing, from 0 [s].
        span_s: length of the record [s].
        amounts: what each event brings of several things that count, such as tokens, `[R, A]`.
    """
    block_s = span_s / BLOCKS
    block = np.minimum((at_s / block_s).astype(np.int64), BLOCKS - 1)
    bins = np.bincount((at_s / BIN_S).astype(np.int64), minlength=1)
    bin_block = np.minimum((np.arange(len(bins)) * (BIN_S / block_s)).astype(np.int64), BLOCKS - 1)
    columns = [np.bincount(block, column, BLOCKS) for column in (np.ones(len(at_s)), *amounts.T)]
    columns.append(np.bincount(bin_block, np.square(bins, dtype=np.float64), BLOCKS))
    split = deal(np.stack(columns, axis=1))
    return tuple(_part(at_s, block, np.flatnonzero(split == number), block_s) for number in range(3))


def check_parts(name: str, found: tuple[Part, ...], horizon_s: float) -> None:
    """Make sure that an episode of `horizon_s` fits every part of the record `name`.

    Raises:
        ValueError: it does not, and why.
    """
    shortest_s = min(part.span_s for part in found)
    if horizon_s > shortest_s:
        raise ValueError(
            f"{name} is too short: its smallest split spans {shortest_s:.0f} s, an episode {horizon_s:.0f} s; "
            "lower horizon_ticks or tick_s, or give a longer trace"
        )
    if not all(len(part.row) for part in found):
        fewest = min(len(part.row) for part in found)
        raise ValueError(f"{name} is too sparse: one of its splits has {fewest} requests; give a longer trace")


def _part(at_s: Float64Array, block: IntArray, own: IntArray, block_s: float) -> Part:
    place = np.full(BLOCKS, -1, np.int64)
    place[own] = np.arange(len(own))
    row = np.flatnonzero(place[block] >= 0)
    shift = (block - place[block])[row]
    pace = len(row) / len(at_s) * BLOCKS / len(own) or 1.0
    return Part(row, pace * np.maximum(at_s[row] - shift * block_s, 0.0), pace * len(own) * block_s)
