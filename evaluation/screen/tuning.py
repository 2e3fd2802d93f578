"""CMA-ES over plans: all of a generation meet the same training episodes, each generation meets new ones.

N. Hansen, "The CMA evolution strategy: a tutorial", arXiv 1604.00772; the package `cma`. The search is a function of
its seed and of the values that it is told, so that a search that was killed is repeated from the values on file.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import cma
import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.screen.record import Record

Float64Array = NDArray[np.float64]

POPULATION = 12


def tune(
    record: Record,
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
        The start, and the centre of the search after each third of its generations.
    """
    options = {"seed": seed + 1, "popsize": POPULATION, "verbose": -9, "verb_log": 0}
    search = cma.CMAEvolutionStrategy(start, spread, options)
    centres = [start]
    for generation in count() if generations is None else range(generations):
        candidates = np.array(search.ask())

        def measure(candidates: Float64Array = candidates, generation: int = generation) -> list[float] | None:
            return values(candidates, generation).tolist() if goes_on() else None

        told = record.once(f"{stage}/{generation}", measure)
        if told is None:  # out of time
            break
        search.tell(list(candidates), [-value for value in told])
        centres.append(np.array(search.result.xfavorite))
    last = len(centres) - 1
    return [centres[index] for index in sorted({0, last // 3, 2 * last // 3, last})]
