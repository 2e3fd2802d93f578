"""One search of plans: its name on file, its length, and what its candidates are ranked by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.screen.limit import SecondsLimit, penalised, price_per_s, ranked
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, outcomes

Float64Array = NDArray[np.float64]
Measured = list[Any]
"""Mean net values of plans [USD]; within a limit a pair of them and of seconds beyond it."""


@dataclass(frozen=True)
class Stage:
    """A search.

    Attributes:
        name: of it.
        generations: None for as many as there is time for.
        limit: on seconds above a cap; None for none.
    """

    name: str
    generations: int | None
    limit: SecondsLimit | None = None

    @property
    def within(self) -> str:
        """What names on file end with."""
        return "" if self.limit is None else f" within {self.limit.more_s:+.3f} s"

    @property
    def label(self) -> str:
        """The name on file."""
        return f"{self.name}{self.within}"

    def measured(self, setting: RolloutSetting, plans: Plans, workers: Workers) -> Measured:
        """Results of plans in episodes, as plain data."""
        if self.limit is None:
            means: list[float] = outcomes(setting, plans, workers)[VALUE].mean(axis=1).tolist()
            return means
        return [row.tolist() for row in self.limit.measured(setting, plans, workers)]

    def first_price(self, probed: Measured) -> float:
        """Of a second beyond the limit in the first generation [USD/s], from plans that differ by a little."""
        return 0.0 if self.limit is None else price_per_s(*self._rows(probed))

    def merits(self, measured: Measured, price: float, generation: int) -> Float64Array:
        """What a generation of the search is ranked by, `[B]`; `price` is that of the first one [USD/s]."""
        return penalised(*self._rows(measured), price, generation)

    def ranked(self, measured: Measured) -> Float64Array:
        """What a choice is made by, `[B]`."""
        return ranked(*self._rows(measured))

    def _rows(self, measured: Measured) -> tuple[Float64Array, Float64Array]:
        """Net values [USD], and seconds beyond the limit, `[B]` each."""
        rows: Sequence[Any] = (measured, [0.0] * len(measured)) if self.limit is None else measured
        return np.array(rows[0]), np.array(rows[1])
