"""What a scenario says: values of the policies that act there, paired leads with intervals, and who refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.generalist.matrix.entrants import COLUMNS, Entrant
from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.evaluation.protocol import Reference
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """The best policy of a column in these very episodes, which favours columns of several.

    Attributes:
        name: of the policy.
        usd: its net value by episode, `[E]`.
        above_cap_s: its mean seconds above a cap in an episode.
    """

    name: str
    usd: Float64Array
    above_cap_s: float


@dataclass(frozen=True)
class Row:
    """One scenario.

    Attributes:
        scenario: its name.
        cells: by column; a column in which nobody acts is missing.
        refused: how many policies refused the scenario, by column.
        reference: of the protocol; None where there is none, or for another scenario or other episodes.
    """

    scenario: str
    cells: Mapping[str, Cell]
    refused: Mapping[str, int]
    reference: Reference | None

    def mean_usd(self, column: str) -> Interval:
        """Net value, with its 95 % interval [USD]."""
        usd = self.cells[column].usd
        return PairedBootstrap(len(usd)).mean(usd)

    def lead(self, column: str, over: str) -> Interval | None:
        """Paired difference of a column to another [USD]; None where nobody acts in one of them."""
        if not {column, over} <= self.cells.keys():
            return None
        ours, theirs = self.cells[column].usd, self.cells[over].usd
        return PairedBootstrap(len(ours)).difference(ours, theirs)

    def percent(self, column: str) -> float:
        """Mean net value over the best one of the row [%]; NaN where nobody acts."""
        if column not in self.cells:
            return float("nan")
        best = max(float(cell.usd.mean()) for cell in self.cells.values())
        return 100.0 * float(self.cells[column].usd.mean()) / best

    def score(self, column: str) -> float | None:
        """On the protocol's scale; None where there is none."""
        if self.reference is None or column not in self.cells:
            return None
        return self.reference.score(float(self.cells[column].usd.mean()))


def row_of(
    scenario: str, entrants: Sequence[Entrant], measured: Mapping[str, Mapping[str, Any]], reference: Reference | None
) -> Row:
    """The row of a scenario.

    Args:
        scenario: its name.
        entrants: who met there.
        measured: by key of an entrant: net value by episode and mean seconds above a cap, or `refused`.
        reference: of the protocol.
    """
    cells, refused = {}, {}
    for column in COLUMNS:
        found = {one.name: measured[one.key] for one in entrants if one.column == column}
        acting = {name: done for name, done in found.items() if VALUE in done}
        refused[column] = len(found) - len(acting)
        if acting:
            name = max(acting, key=lambda one: float(np.mean(acting[one][VALUE])))
            cells[column] = Cell(name, np.array(acting[name][VALUE]), float(acting[name][SECONDS]))
    return Row(scenario, cells, refused, reference)
