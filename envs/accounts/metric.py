"""What a metric is: one number per episode, with a name, a unit, a meaning, a better direction and a formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_sums import EpisodeSums

Float64Array = NDArray[np.float64]
Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Metric:
    """One number per episode.

    Attributes:
        name: column name, with its unit as a suffix where it has one.
        label: as a person reads it, without the unit.
        unit: as a person reads it; empty for shares and other plain numbers.
        better: `"higher"`, `"lower"`, or empty where neither is better by itself.
        doc: what it means, one sentence.
        formula: from the sums of n episodes to `[n]`; None where something other than a fleet reports the number.
        by_class: the same for every request class, to `[n, K]`; None where the metric has no such columns.
        percent: shown as a percentage.
    """

    name: str
    label: str
    unit: str
    better: Better
    doc: str
    formula: Callable[[EpisodeSums], Float64Array] | None = None
    by_class: Callable[[EpisodeSums], Float64Array] | None = None
    percent: bool = False

    @property
    def heading(self) -> str:
        """Label and unit, for example `energy [kWh]`."""
        unit = "%" if self.percent else self.unit
        return f"{self.label} [{unit}]" if unit else self.label


def ratio(over: Float64Array, under: Float64Array) -> Float64Array:
    """`over / under`, NaN where `under` is not above 0."""
    return np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0.0)
