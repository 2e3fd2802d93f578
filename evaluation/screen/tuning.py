"""CMA-ES over plans: all of a generation meet the same training episodes, each generation meets new ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.policies.search.covariance import CovarianceSearch
from tokenfleet.policies.search.recorded import centres_of

Float64Array = NDArray[np.float64]

POPULATION = 12


def tune(
    record: MeasurementFile,
    stage: str,
    start: Float64Array,
    spread: float,
    generations: int | None,
    seed: int,
    values: Callable[[Float64Array, int], Float64Array],
    goes_on: Callable[[], bool],
) -> list[Float64Array]:
    """Search for numbers of high value.

    Args:
        record: holds the values of each generation.
        stage: their name there.
        start: the first centre of the search, `[D]`.
        spread: standard deviation of the first generation.
        generations: at most; None for as many as there is time for.
        seed: of the search.
        values: of candidates `[POPULATION, D]` in a generation, to be maximised.
        goes_on: whether there is time for one more generation.

    Returns:
        The start, and the centre of the search after each of its generations.
    """

    def measure(candidates: Float64Array, generation: int) -> list[float] | None:
        def fresh() -> list[float] | None:
            return values(candidates, generation).tolist() if goes_on() else None

        found: list[float] | None = record.once(f"{stage}/{generation}", fresh)
        return found

    return centres_of(CovarianceSearch(start, spread, POPULATION, seed), generations, measure)
