"""The law of linear feedback: entries of the action `setpoints` from features, for many laws or many fleets at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.policies.heuristics.linear.features import WIDEST, FeatureScale

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


def scaled(values: Float64Array, scale: FeatureScale) -> Float64Array:
    """Features in standard deviations from their mean, cut at `WIDEST`."""
    shares = np.where(scale.moves, (values - scale.mean) / np.where(scale.moves, scale.deviation, 1.0), 0.0)
    return np.clip(shares, -WIDEST, WIDEST)


def entries_of(base: Float64Array, gains: Float64Array, seen: Float64Array) -> Float32Array:
    """Entries of the action, `[N, A]`: the base, and gains times features, cut to [-1, 1].

    The features are added one by one, so that a fleet's entries do not depend on those beside it.

    Args:
        base: entries while every feature stands at its mean, `[N, A]` or `[A]`.
        gains: what an entry gains per standard deviation of a feature, `[N, A, F]` or `[A, F]`.
        seen: scaled features of the row that each entry follows, `[N, A, F]`.
    """
    moved = np.zeros(seen.shape[:2])
    for feature in range(seen.shape[2]):
        moved += gains[..., feature] * seen[..., feature]
    cut: Float32Array = np.clip(base + moved, -1.0, 1.0).astype(np.float32)
    return cut
