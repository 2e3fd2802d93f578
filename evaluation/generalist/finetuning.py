"""Going on from weights for any fleet in one scenario, with its training episodes alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.generalist.commands import save_found, search_with_bar
from tokenfleet.evaluation.generalist.rollouts import KnownFleet
from tokenfleet.evaluation.generalist.search import FoundWeights, Meetings, SearchOptions, header
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.weights import SUFFIX, load_weights, weights_hash


@dataclass(frozen=True, kw_only=True)
class FinetuningOptions(SearchOptions):
    """What a person may set of a fine-tuning; the defaults take about two minutes on one core.

    Attributes:
        weights: to begin at: shipped ones by name, or a file.
        generations, population, spread: see `SearchOptions`.
        episodes: that a candidate meets.
        validation_episodes: by which one of the search's centres is chosen.
    """

    weights: str = "generalist"
    generations: int = 36
    population: int = 16
    spread: float = 0.1
    episodes: int = 8
    validation_episodes: int = 40


def scenario_meetings(scenario: Scenario, options: FinetuningOptions) -> Meetings:
    """Other training episodes of the scenario every generation."""

    def training(generation: int) -> list[KnownFleet]:
        seeds = np.random.default_rng([options.seed, generation]).integers(2**31, size=options.episodes)
        return [KnownFleet(scenario, "train", tuple(seeds.tolist()))]

    seeds = tuple(episode_seeds(options.seed, options.validation_episodes))
    return Meetings(training, [KnownFleet(scenario, "validation", seeds)])


def finetune(
    scenario: Scenario, options: FinetuningOptions, command: str, folder: Path, workers: Workers
) -> tuple[Path, FoundWeights]:
    """Fine-tune in a scenario, or go on with what the folder holds; writes `<scenario>.safetensors` there.

    Args:
        scenario: see there.
        options: see there.
        command: that asks for it, for the file.
        folder: of what was measured and of weights, by scenario.
        workers: that run episodes.

    Returns:
        The file, and what is in it.

    Raises:
        SpecError: no such weights; or the folder holds another search, or cannot be written.
    """
    begin = load_weights(options.weights, "--weights")
    about = {"config_hash": scenario_hash(scenario), "start": weights_hash(begin)}
    record = MeasurementFile(folder / f"{scenario.name}.json", header(options) | about)
    found = search_with_bar(begin, options, scenario_meetings(scenario, options), record, workers)
    path = folder / f"{scenario.name}{SUFFIX}"
    save_found(path, found, command)
    return path, found
