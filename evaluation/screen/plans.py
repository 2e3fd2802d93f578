"""Plans: set-points of many policies at once, as entries of the action `setpoints`, constant or moved by the state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plans:
    """B policies over the A entries of the action `setpoints`.

    Attributes:
        base: entries while every feature stands at its mean, `[B, A]`.
        gains: what each entry gains with one standard deviation of each of F features, `[B, A, F]`; None for constants.
    """

    base: Float64Array
    gains: Float64Array | None = None

    def __len__(self) -> int:
        return len(self.base)

    def part(self, rows: slice) -> Plans:
        """Some of the plans."""
        return Plans(self.base[rows], None if self.gains is None else self.gains[rows])


def stacked(plans: list[Plans]) -> Plans:
    """Plans one behind the other; a constant among plans with feedback gets gains of zero."""
    shape = next((plan.gains.shape[1:] for plan in plans if plan.gains is not None), None)
    base = np.concatenate([plan.base for plan in plans])
    if shape is None:
        return Plans(base)
    gains = [np.zeros((len(plan), *shape)) if plan.gains is None else plan.gains for plan in plans]
    return Plans(base, np.concatenate(gains))
