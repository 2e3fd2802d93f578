"""What a training seed learns in a scenario: constants, feedback, and corrections of the best rule."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.screen.budget import TRAIN_EPISODES
from tokenfleet.evaluation.screen.conclusions import CONSTANTS, FEEDBACK
from tokenfleet.evaluation.screen.found import choice_of
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.run import Options, Screen
from tokenfleet.evaluation.screen.tuning import POPULATION
from tokenfleet.policies.registry import Choice

CORRECTION = "corrected rule"
METHODS = (CONSTANTS, FEEDBACK, CORRECTION)
LEARNED = (FEEDBACK, CORRECTION)
"""The methods whose policies answer to the state."""
VALIDATION_SEED = 1_000
"""Of the validation episodes by which rules and methods are chosen; searches choose by others."""
OF_CONSTANTS = ("constants", "constants further")
"""Searches of constants, which have as many episodes together as all else."""


@dataclass(frozen=True)
class Learned:
    """What one training seed came to.

    Attributes:
        policies: as the registry takes them, or a folder of a checkpoint, by method.
        validation_usd: mean net value in validation episodes, the same for all methods and seeds.
        minutes: wall clock of both searches and the corrections, the constants included.
        episodes: of training, of all learned methods together and of the constants.
    """

    policies: Mapping[str, Choice | Path]
    validation_usd: Mapping[str, float]
    minutes: float
    episodes: int

    @property
    def best(self) -> str:
        """The learned method that is best on validation."""
        return max(LEARNED, key=lambda method: self.validation_usd[method])


def learn(
    scenario: Scenario,
    rule: str,
    seed: int,
    budget: Budget,
    folder: Path,
    workers: Workers,
    say: Callable[[str], None],
) -> Learned:
    """Train, or read what has been trained.

    Args:
        scenario: to train in.
        rule: that is corrected.
        seed: of the training.
        budget: of the training.
        folder: holds one file and one training run a scenario and seed, from which a training goes on.
        workers: that run episodes.
        say: told what begins.

    Raises:
        SpecError: a file in the folder is of another training, or a training failed.
    """
    stem = f"{scenario.name}-{seed}"
    header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), "rule": rule, "seed": seed}
    record = Record(folder / f"{stem}.json", {**header, **vars(budget)})

    def search() -> dict[str, Any]:
        options = Options(
            seed=seed,
            generations=budget.generations,
            episodes=budget.episodes,
            control_generations=-(-budget.correction_episodes // (POPULATION * TRAIN_EPISODES)),
        )
        screen = Screen(scenario, options, record, workers, say)
        choices = {name: choice_of(plan, scenario, screen.scale()) for name, plan in screen.search().items()}
        episodes = POPULATION * TRAIN_EPISODES * sum(screen.generations(stage) for stage in OF_CONSTANTS)
        return {"choices": choices, "episodes": episodes}

    def correct() -> float:
        say(f"corrections of {rule}")
        _train(correction_command(scenario, rule, seed, budget, folder / stem), folder / stem)
        return record.elapsed_s / 60.0

    searched = record.once("searched", search)
    minutes = record.once("trained", correct)
    policies: dict[str, Choice | Path] = {**searched["choices"], CORRECTION: folder / stem}

    def validate() -> dict[str, float]:
        say("validation")
        cells = workers.map(_Validation(scenario, budget.episodes), [policies[method] for method in METHODS])
        return dict(zip(METHODS, cells, strict=True))

    return Learned(policies, record.once("validation", validate), minutes, searched["episodes"])


def correction_command(scenario: Scenario, rule: str, seed: int, budget: Budget, folder: Path) -> list[str]:
    """What a person types to train the corrections of a rule."""
    steps = budget.correction_episodes * scenario.horizon_ticks
    return [
        "train.py", "experiment=correction", f"scenario={scenario.name}", f"policy.base={rule}", f"seed={seed}",
        f"total_timesteps={steps}", f"validation.every={max(steps // 4, 1)}", f"hydra.run.dir={folder}",
    ]  # fmt: skip


def _train(command: list[str], folder: Path) -> None:
    """Run a training, or go on with the one that a folder holds, unless it is complete."""
    manifest = folder / "manifest.json"
    if manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["status"] == "complete":
        return
    arguments = [f"resume={folder}"] if (folder / "snapshots").exists() else command[1:]
    done = subprocess.run(
        [sys.executable, "-m", "tokenfleet.train", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SpecError([f"training failed: {' '.join(command)}: {line}" for line in done.stderr.splitlines()[-3:]])


@dataclass(frozen=True)
class _Validation:
    """Mean net value of a policy in the validation episodes by which methods are chosen."""

    scenario: Scenario
    episodes: int

    def __call__(self, policy: Choice | Path) -> float:
        values = measure_cell(self.scenario, policy, self.episodes, VALIDATION_SEED)["net_value_usd"]
        return float(sum(values) / len(values))
