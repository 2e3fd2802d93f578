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
        gains: what each of M steered entries gains with one standard deviation of each of F features, `[B, M, F]`;
            None for constants.
    """

    base: Float64Array
    gains: Float64Array | None = None

    def __len__(self) -> int:
        return len(self.base)

    def part(self, rows: slice) -> Plans:
        """Some of the plans."""
        return Plans(self.base[rows], None if self.gains is None else self.gains[rows])

    def flat(self) -> Float64Array:
        """All numbers of each plan, `[B, D]`: the base, then the gains."""
        count = len(self)
        gains = np.empty((count, 0)) if self.gains is None else self.gains.reshape(count, -1)
        return np.concatenate([self.base, gains], axis=1)

    @classmethod
    def of_flat(cls, flat: Float64Array, entries: int, features: int) -> Plans:
        """Plans from `flat`, which begins with so many entries; further numbers are gains on so many features."""
        base = np.clip(flat[:, :entries], -1.0, 1.0)
        rest = flat[:, entries:]
        return cls(base, rest.reshape(len(flat), -1, features) if rest.shape[1] else None)


def stacked(plans: list[Plans]) -> Plans:
    """Plans one behind the other; a constant among plans with feedback gets gains of zero."""
    shape = next((plan.gains.shape[1:] for plan in plans if plan.gains is not None), None)
    base = np.concatenate([plan.base for plan in plans])
    if shape is None:
        return Plans(base)
    gains = [np.zeros((len(plan), *shape)) if plan.gains is None else plan.gains for plan in plans]
    return Plans(base, np.concatenate(gains))
