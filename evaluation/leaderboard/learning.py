"""What a training seed learns in a scenario: constants and feedback, after as many training episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.screen.budget import TRAIN_EPISODES
from tokenfleet.evaluation.screen.found import choice_of
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.run import CONSTANTS, FEEDBACK, Options, Screen
from tokenfleet.evaluation.screen.tuning import POPULATION

METHODS = (CONSTANTS, FEEDBACK)
LEARNED = FEEDBACK
"""The method whose policies answer to the state."""
OF_CONSTANTS = ("constants", "constants further")
"""Searches of constants, which have as many episodes as that of feedback with its probes."""


@dataclass(frozen=True)
class Budget:
    """Of one training.

    Attributes:
        generations: of the search of feedback; see `screen.run.Options`.
        episodes: of validation, by which the search chooses among its centres.
    """

    generations: int
    episodes: int


@dataclass(frozen=True)
class Learned:
    """What one training seed came to.

    Attributes:
        choice: the policy as the registry takes it, by method.
        validation_usd: mean net value in the episodes of validation, by method.
        minutes: wall clock of everything.
        episodes: of training of either method; of feedback, those of the constants that it goes on from included.
    """

    choice: dict[str, dict[str, Any]]
    validation_usd: dict[str, float]
    minutes: float
    episodes: int


def learn(
    scenario: Scenario, seed: int, budget: Budget, folder: Path, workers: Workers, say: Callable[[str], None]
) -> Learned:
    """Train, or read what has been trained.

    Args:
        scenario: to train in.
        seed: of the training.
        budget: of the training.
        folder: holds one file a scenario and seed, from which a training goes on.
        workers: that run episodes.
        say: told what begins.

    Raises:
        SpecError: a file in the folder is of another training.
    """
    header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), "seed": seed, **vars(budget)}
    record = Record(folder / f"{scenario.name}-{seed}.json", header)

    def train() -> dict[str, Any]:
        options = Options(seed=seed, generations=budget.generations, episodes=budget.episodes)
        screen = Screen(scenario, options, record, workers, say)
        plans = screen.search()
        return {
            "choice": {name: choice_of(plans[name], scenario, screen.scale()) for name in METHODS},
            "validation_usd": {name: screen.chosen_by(name) for name in METHODS},
            "minutes": record.elapsed_s / 60.0,
            "episodes": POPULATION * TRAIN_EPISODES * sum(screen.generations(stage) for stage in OF_CONSTANTS),
        }

    return Learned(**record.once("learned", train))
