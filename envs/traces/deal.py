"""Deal records to train, validation and test, so that the three are alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

SHARES = (3, 1, 1)
"""Of five pieces in a row, how many go to each split."""
CLOSE = 0.005
"""How near a part's share of every amount should come to its target, relative."""
NOBODY = -1


def deal(amounts: NDArray[np.float64], shares: Sequence[int] = SHARES) -> NDArray[np.int8]:
    """The split of every piece.

    Pieces are dealt in rounds of `sum(shares)` neighbours, so that every split has pieces from everywhere. The deal of
    a round brings each split's part of every amount near its share of the pieces: round by round, and again until no
    round can be dealt better. Pieces left over after the last whole round go to the first split.

    Args:
        amounts: several amounts of each piece, `[M, A]`, none negative.
        shares: pieces of a round for each split.

    Returns:
        Index of the split of each piece, `[M]`.

    >>> deal(np.array([[9.0], [1.0], [1.0], [1.0], [2.0], [1.0], [9.0], [1.0], [2.0], [1.0]])).tolist()
    [0, 0, 0, 1, 2, 0, 0, 0, 1, 2]
    """
    hand = [split for split, share in enumerate(shares) for _ in range(share)]
    ways = np.array(sorted(set(permutations(hand))), np.int8)
    rounds = len(amounts) // len(hand)
    split = np.zeros(len(amounts), np.int8)
    total = amounts.sum(axis=0)
    piece = (amounts / np.where(total > 0, total, 1.0))[: rounds * len(hand)].reshape(rounds, len(hand), -1)
    gained = np.einsum("wps,rpa->rwsa", ways[:, :, None] == np.arange(len(shares)), piece)
    target = np.array(shares, np.float64)[:, None] / len(hand)
    chosen = _best_ways(gained, target)
    split[: rounds * len(hand)] = ways[chosen].ravel()
    return split


def deal_by_size(amounts: NDArray[np.float64], shares: Sequence[int] = SHARES) -> NDArray[np.int8]:
    """The split of every piece, `[pieces]`, dealt in the order of their first amount: those of a round are alike.

    Args:
        amounts: as for `deal`.
        shares: as for `deal`.
    """
    order = np.argsort(-amounts[:, 0], kind="stable")
    split = np.empty(len(amounts), np.int8)
    split[order] = deal(amounts[order], shares)
    return split


def deal_clusters(
    amounts: NDArray[np.float64], cluster: NDArray[np.int64], shares: Sequence[int] = SHARES
) -> NDArray[np.int8]:
    """The split of every piece, where pieces of one cluster stay together.

    Clusters are dealt by size. Then one cluster changes its split, or two exchange theirs, whatever brings the parts
    nearest to their shares. The exchange goes on until every part is within `CLOSE`, or nothing helps.

    Args:
        amounts: as for `deal`.
        cluster: number of each piece's cluster, from 0, `[M]`.
        shares: as for `deal`.
    """
    together = np.stack([np.bincount(cluster, column) for column in amounts.T], axis=1).astype(np.float64)
    split = deal_by_size(together, shares)
    target = np.array(shares, np.float64)[:, None] / sum(shares)
    piece = together / np.where(together.sum(axis=0) > 0, together.sum(axis=0), 1.0)
    while (moves := _best_moves(split, piece, target)) is not None:
        for number, to in moves:
            split[number] = to
    return split[cluster]


def _best_moves(
    split: NDArray[np.int8], piece: NDArray[np.float64], target: NDArray[np.float64]
) -> list[tuple[int, int]] | None:
    """The piece to move, or the two to change places, as (piece, its new split).

    Args:
        split: of each piece, `[M]`.
        piece: its share of every amount, `[M, A]`.
        target: share of each split, `[S, 1]`.

    Returns:
        None where every part is within `CLOSE`, or nothing brings them nearer.
    """
    held = np.stack([piece[split == number].sum(axis=0) for number in range(len(target))]) / target - 1.0
    if np.abs(held).max() < CLOSE:
        return None
    best, least = None, np.square(held).sum() - 1e-9
    for a in range(len(target)):
        for b in range(a + 1, len(target)):
            ours, theirs = (np.append(np.flatnonzero(split == number), NOBODY) for number in (a, b))
            given, taken = (np.where((rows == NOBODY)[:, None], 0.0, piece[rows]) for rows in (ours, theirs))
            step = taken[None, :] - given[:, None]
            error = np.square(np.delete(held, [a, b], axis=0)).sum() + np.square(held[a] + step / target[a]).sum(axis=2)
            error += np.square(held[b] - step / target[b]).sum(axis=2)
            ours_at, theirs_at = np.unravel_index(int(np.argmin(error)), error.shape)
            if error[ours_at, theirs_at] < least:
                moves = ((int(ours[ours_at]), b), (int(theirs[theirs_at]), a))
                best, least = [move for move in moves if move[0] != NOBODY], float(error[ours_at, theirs_at])
    return best


def _best_ways(gained: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which way each round is dealt, `[R]`; `gained` is what a way gives each split of each amount, `[R, W, S, A]`."""
    held = np.zeros(gained.shape[2:])
    chosen = np.full(len(gained), -1, np.int64)
    for sweep in range(len(gained) + 1):
        before = chosen.copy()
        for r, gains in enumerate(gained):
            others = held - (gains[chosen[r]] if sweep else 0.0)
            whole = target if sweep else target * (r + 1) / len(gained)
            error = np.square((others + gains - whole) / target).sum(axis=(1, 2))
            chosen[r] = int(np.argmin(np.round(error, 12)))
            held = others + gains[chosen[r]]
        if (chosen == before).all():
            break
    return chosen
