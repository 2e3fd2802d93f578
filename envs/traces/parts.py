"""Cut a record into the parts of train, validation and test, each on a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.traces.deal import deal

IntArray = NDArray[np.int64]
Float64Array = NDArray[np.float64]

BLOCKS = 100
"""Of equal length, that a record is cut into."""
FIFTHS = (3, 1, 1)
"""How many fifths of the blocks each split has."""
BIN_S = 10.0
"""Squared deviations of the counts in bins of so many seconds stand for how bursty a block is."""


@dataclass(frozen=True, eq=False)
class SplitPart:
    """What one split has of a record: the events of its blocks, on a clock that runs in its blocks only.

    Attributes:
        row: the events, `[M]`.
        at_s: when each comes on the part's clock, `[M]`, rising [s].
        span_s: length of its blocks together [s].
    """

    row: IntArray
    at_s: Float64Array
    span_s: float


def parts(at_s: Float64Array, span_s: float, amounts: Float64Array) -> tuple[SplitPart, ...]:
    """The parts of train, validation and test of a record; no two share an event.

    The record is cut into `BLOCKS`, which are dealt to five fifths of alike rates, amounts and burstiness (`deal`),
    each with blocks from the whole record. Train has three of them, one after the other, so that a window of any split
    sees as much of the record's drift. Within a block the recorded gaps stay as they were, but for the pace: a fifth's
    clock runs so much faster or slower, by a few hundredths at most in a record of many events, that all have the same
    rate.

    Args:
        at_s: when each event came, `[R]`, not decreasing, from 0 [s].
        span_s: length of the record [s].
        amounts: several amounts of each event, such as tokens, `[R, A]`.
    """
    block_s = span_s / BLOCKS
    block = np.minimum((at_s / block_s).astype(np.int64), BLOCKS - 1)
    bins = np.bincount((at_s / BIN_S).astype(np.int64), minlength=1)
    bin_block = np.minimum((np.arange(len(bins)) * (BIN_S / block_s)).astype(np.int64), BLOCKS - 1)
    columns = [np.bincount(block, column, BLOCKS) for column in (np.ones(len(at_s)), *amounts.T)]
    columns.append(np.bincount(bin_block, np.square(bins - bins.mean()), BLOCKS))
    fifth = deal(np.stack(columns, axis=1), (1,) * sum(FIFTHS))
    found = [_part(at_s, block, np.flatnonzero(fifth == number), block_s) for number in range(sum(FIFTHS))]
    ends = np.cumsum(FIFTHS).tolist()
    return tuple(_one_after_the_other(found[end - share : end]) for share, end in zip(FIFTHS, ends, strict=True))


def _one_after_the_other(fifths: list[SplitPart]) -> SplitPart:
    starts_s = np.cumsum([0.0, *(fifth.span_s for fifth in fifths)])
    at_s = [start_s + fifth.at_s for start_s, fifth in zip(starts_s, fifths, strict=False)]
    return SplitPart(np.concatenate([fifth.row for fifth in fifths]), np.concatenate(at_s), float(starts_s[-1]))


def check_parts(name: str, found: tuple[SplitPart, ...], horizon_s: float) -> None:
    """Make sure that an episode of `horizon_s` fits every part of the record `name`, and that no part is empty.

    Raises:
        ValueError: a part is too short, or has no event.
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


def _part(at_s: Float64Array, block: IntArray, own: IntArray, block_s: float) -> SplitPart:
    place = np.full(BLOCKS, -1, np.int64)
    place[own] = np.arange(len(own))
    row = np.flatnonzero(place[block] >= 0)
    shift = (block - place[block])[row]
    pace = len(row) / len(at_s) * BLOCKS / len(own) or 1.0
    return SplitPart(row, pace * np.maximum(at_s[row] - shift * block_s, 0.0), pace * len(own) * block_s)
