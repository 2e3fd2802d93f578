"""A search for weights: all candidates of a generation meet the same episodes, validation episodes choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.generalist.rollouts import Fleet, scores
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.law import Weights
from tokenfleet.policies.generalist.weights import numbers_of, weights_of
from tokenfleet.policies.search.covariance import CovarianceSearch
from tokenfleet.policies.search.recorded import centres_of, thirds

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What a person may set of a search.

    Attributes:
        seed: of the search and of episodes.
        biases_alone: search constants alone: one for each kind of set-point.
        generations: of the search.
        population: candidates of a generation.
        spread: standard deviation of the first generation.
    """

    seed: int = 0
    biases_alone: bool = False
    generations: int = 120
    population: int = 20
    spread: float = 0.15


@dataclass(frozen=True)
class Meetings:
    """The fleets and episodes that candidates meet.

    Attributes:
        training: of a generation, by its number.
        validation: by which one of the search's centres is chosen.
    """

    training: Callable[[int], Sequence[Fleet]]
    validation: Sequence[Fleet]


@dataclass(frozen=True)
class FoundWeights:
    """What a search came to.

    Attributes:
        weights: of one policy.
        scores: means over validation fleets, of the start and of the centre after each third.
    """

    weights: Weights
    scores: tuple[float, ...]


def search_weights(
    start: Weights,
    options: SearchOptions,
    meetings: Meetings,
    record: MeasurementFile,
    workers: Workers,
    say: Callable[[str], None],
) -> FoundWeights:
    """Search from the weights of one policy, and choose on validation fleets: the start, or a later centre.

    Args:
        start: see there.
        options: see there.
        meetings: see there.
        record: of what has been measured: a search that was killed measures nothing twice, and one with more
            generations goes on from one with fewer.
        workers: that run episodes.
        say: told what begins.
    """

    def means(weights: Weights, fleets: Sequence[Fleet]) -> list[float]:
        """Mean scores, each fleet counting alike."""
        found: Float64Array = np.array(workers.map(partial(scores, weights), fleets)).mean(axis=(0, 2))
        return [float(value) for value in found]

    def measured(candidates: Float64Array, generation: int) -> list[float]:
        say(f"generation {generation + 1} of {options.generations}")
        weights = weights_of(candidates, start)
        values: list[float] = record.once(
            f"generation {generation}", lambda: means(weights, meetings.training(generation))
        )
        return values

    begin = numbers_of(start, options.biases_alone)
    search = CovarianceSearch(begin, options.spread, options.population, options.seed, diagonal=True)
    centres = weights_of(np.array(thirds(centres_of(search, options.generations, measured))), start)
    say("validation fleets")
    name = f"validation after {options.generations} generations"
    found: list[float] = record.once(name, lambda: means(centres, meetings.validation))
    best = int(np.argmax(found))
    record.conclude({"options": asdict(options), "scores": found, "chosen": best})
    return FoundWeights(Weights(*(array[best : best + 1] for array in centres)), tuple(found))


def header(options: SearchOptions) -> dict[str, Any]:
    """What a record is of: all but the number of generations."""
    return {name: value for name, value in asdict(options).items() if name != "generations"}
