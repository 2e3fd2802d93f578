"""A search for weights: every generation meets some drawn fleets, and all of its candidates meet the same episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.generalist.rollouts import DrawnFleet, scores
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.law import Weights
from tokenfleet.policies.generalist.weights import numbers_of, start, weights_of
from tokenfleet.policies.search.covariance import CovarianceSearch
from tokenfleet.policies.search.recorded import centres_of, thirds

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """What a person may set of a training.

    Attributes:
        ranges: what fleets are drawn from, a name of the catalogue or a file.
        seed: of the search, of encoders and of episodes.
        hidden: numbers that each entity's encoder gives; 0 for a linear law without context.
        biases_alone: search constants instead: one for each kind of set-point.
        generations: of the search.
        population: candidates of a generation.
        spread: standard deviation of the first generation.
        fleets: training fleets to choose from.
        fleets_of_generation: of them, that a generation meets.
        episodes: that a candidate meets in each of these.
        validation_fleets, validation_episodes: by which one of the search's centres is chosen.
    """

    ranges: str = "generalist"
    seed: int = 0
    hidden: int = 2
    biases_alone: bool = False
    generations: int = 120
    population: int = 20
    spread: float = 0.15
    fleets: int = 64
    fleets_of_generation: int = 10
    episodes: int = 1
    validation_fleets: int = 16
    validation_episodes: int = 8


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        weights: of one policy.
        scores: means over validation fleets, of the start and of the centre after each third.
    """

    weights: Weights
    scores: tuple[float, ...]


class GeneralistTraining:
    """One training.

    Args:
        options: see there.
        record: of what has been measured: a training that was killed measures nothing twice.
        workers: that run episodes.
        say: told what begins.
    """

    def __init__(self, options: Options, record: MeasurementFile, workers: Workers, say: Callable[[str], None]) -> None:
        self._options, self._record, self._workers, self._say = options, record, workers, say
        self._around = start(options.hidden, options.seed)

    def run(self) -> Trained:
        """Search, and choose on validation fleets."""
        options = self._options
        begin = numbers_of(self._around, options.biases_alone)
        search = CovarianceSearch(begin, options.spread, options.population, options.seed, diagonal=True)
        centres = thirds(centres_of(search, options.generations, self._measured))
        weights = weights_of(np.array(centres), self._around)
        self._say("validation fleets")
        means = self._record.once("validation", lambda: self._validated(weights).mean(axis=(0, 2)).tolist())
        best = int(np.argmax(means))
        chosen = Weights(*(array[best : best + 1] for array in weights))
        card = {"options": asdict(options), "scores": means, "chosen": best}
        self._record.conclude(card)
        return Trained(chosen, tuple(means))

    def _measured(self, candidates: Float64Array, generation: int) -> list[float]:
        """Mean scores of a generation, each fleet counting alike."""
        self._say(f"generation {generation + 1} of {self._options.generations}")

        def measure() -> list[float]:
            weights = weights_of(candidates, self._around)
            found = np.array(self._workers.map(partial(scores, weights), self._fleets(generation)))
            return [float(value) for value in found.mean(axis=(0, 2))]

        values: list[float] = self._record.once(f"generation {generation}", measure)
        return values

    def _fleets(self, generation: int) -> list[DrawnFleet]:
        """The fleets and episodes of a generation."""
        options = self._options
        rng = np.random.default_rng([options.seed, generation])
        chosen = rng.permutation(options.fleets)[: options.fleets_of_generation].tolist()
        seeds = rng.integers(2**31, size=(len(chosen), options.episodes)).tolist()
        return [
            DrawnFleet(options.ranges, "train", index, tuple(own)) for index, own in zip(chosen, seeds, strict=True)
        ]

    def _validated(self, weights: Weights) -> Float64Array:
        options = self._options
        seeds = tuple(episode_seeds(options.seed, options.validation_episodes))
        fleets = [DrawnFleet(options.ranges, "validation", index, seeds) for index in range(options.validation_fleets)]
        return np.array(self._workers.map(partial(scores, weights), fleets))


def header(options: Options) -> dict[str, Any]:
    """What a record is of."""
    return asdict(options)
