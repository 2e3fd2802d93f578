"""What a training on drawn fleets meets: every generation some of the training fleets, one episode or more in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.generalist.rollouts import DrawnFleet
from tokenfleet.evaluation.generalist.search import Meetings, SearchOptions


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(SearchOptions):
    """What a person may set of a training.

    Attributes:
        ranges: what fleets are drawn from, a name of the catalogue or a file.
        hidden: numbers that each entity's encoder gives; 0 for a linear law without context.
        fleets: training fleets to choose from.
        fleets_of_generation: of them, that a generation meets.
        episodes: that a candidate meets in each of these.
        validation_fleets, validation_episodes: by which one of the search's centres is chosen.
    """

    ranges: str = "generalist"
    hidden: int = 2
    fleets: int = 64
    fleets_of_generation: int = 10
    episodes: int = 1
    validation_fleets: int = 16
    validation_episodes: int = 8


def drawn_meetings(options: TrainingOptions) -> Meetings:
    """Other episodes of other training fleets every generation."""

    def training(generation: int) -> list[DrawnFleet]:
        rng = np.random.default_rng([options.seed, generation])
        chosen = rng.permutation(options.fleets)[: options.fleets_of_generation].tolist()
        seeds = rng.integers(2**31, size=(len(chosen), options.episodes)).tolist()
        return [
            DrawnFleet(options.ranges, "train", index, tuple(own)) for index, own in zip(chosen, seeds, strict=True)
        ]

    seeds = tuple(episode_seeds(options.seed, options.validation_episodes))
    indices = range(options.validation_fleets)
    return Meetings(training, [DrawnFleet(options.ranges, "validation", index, seeds) for index in indices])
