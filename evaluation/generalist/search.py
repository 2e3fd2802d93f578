"""A search for weights: all candidates of a generation meet the same episodes, validation episodes choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.generalist.rollouts import Fleet, scores_and_seconds
from tokenfleet.evaluation.screen.limit import penalised, price_per_s, ranked, tolerated_s
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
        above_cap_limit_s: most mean seconds above a cap in an episode; None for no limit. Candidates beyond it lose
            value, and validation prefers those within (`screen.limit`).
    """

    seed: int = 0
    biases_alone: bool = False
    generations: int = 120
    population: int = 20
    spread: float = 0.15
    above_cap_limit_s: float | None = None


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
        chosen: which of these it is.
    """

    weights: Weights
    scores: tuple[float, ...]
    chosen: int


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
    begin = numbers_of(start, options.biases_alone)

    def means(numbers: Float64Array, fleets: Sequence[Fleet]) -> list[list[float]]:
        """Mean scores and mean seconds above a cap, each fleet counting alike."""
        found: Float64Array = np.array(workers.map(partial(scores_and_seconds, weights_of(numbers, start)), fleets))
        means: list[list[float]] = found.mean(axis=(0, 3)).tolist()
        return means

    limit = None
    if options.above_cap_limit_s is not None:
        _, [start_s] = record.once("start", lambda: means(begin[None], meetings.validation))
        limit = LimitFromStart(options.above_cap_limit_s, start_s)

    def measured(candidates: Float64Array, generation: int) -> list[float]:
        say(f"generation {generation + 1} of {options.generations}")
        numbers = candidates if limit is None else np.concatenate([candidates, begin[None]])
        found = record.once(f"generation {generation}", lambda: means(numbers, meetings.training(generation)))
        scores, above_cap_s = np.array(found)
        merits: list[float] = (scores if limit is None else limit.merits(scores, above_cap_s, generation)).tolist()
        return merits

    search = CovarianceSearch(begin, options.spread, options.population, options.seed, diagonal=True)
    centres = np.array(thirds(centres_of(search, options.generations, measured)))
    say("validation fleets")
    name = f"validation after {options.generations} generations"
    found, above_cap_s = record.once(name, lambda: means(centres, meetings.validation))
    best = int(np.argmax(found)) if limit is None else limit.best(np.array(found), np.array(above_cap_s))
    record.conclude({"options": asdict(options), "scores": found, "above_cap_s": above_cap_s, "chosen": best})
    return FoundWeights(weights_of(centres[best : best + 1], start), tuple(found), best)


class LimitFromStart:
    """The limit on mean seconds above a cap in a search.

    The seconds of a generation's candidates are compared with those that the start has in the same episodes, which
    takes the chance of few episodes out.

    Args:
        limit_s: the limit [s].
        start_s: mean seconds above a cap of the start in the validation episodes [s].
    """

    def __init__(self, limit_s: float, start_s: float) -> None:
        self._limit_s, self._more_s = limit_s, limit_s - start_s
        self._first_price, self._priced_since = 0.0, 0

    def merits(self, scores: Float64Array, above_cap_s: Float64Array, generation: int) -> Float64Array:
        """What the candidates of a generation are ranked by, `[B]`.

        Args:
            scores: of the candidates and, last, of the start, `[B + 1]`.
            above_cap_s: likewise.
            generation: its number; the first one with candidates beyond the limit prices seconds for all later ones.
        """
        beyond_s = np.maximum(above_cap_s[:-1] - above_cap_s[-1] - self._more_s, 0.0)
        if self._first_price == 0.0:
            self._first_price, self._priced_since = price_per_s(scores[:-1], beyond_s), generation
        return penalised(scores[:-1], beyond_s, self._first_price, generation - self._priced_since)

    def best(self, scores: Float64Array, above_cap_s: Float64Array) -> int:
        """Which of some centres is best on validation."""
        return int(np.argmax(ranked(scores, np.maximum(above_cap_s - tolerated_s(self._limit_s), 0.0))))


def header(options: SearchOptions) -> dict[str, Any]:
    """What a record is of: all but the number of generations."""
    return {name: value for name, value in asdict(options).items() if name != "generations"}
