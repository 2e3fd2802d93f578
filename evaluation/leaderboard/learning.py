"""What a training seed learns in a scenario: constants, feedback, and corrections of the best rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.cells import Cells, validation_cells
from tokenfleet.evaluation.leaderboard.commands import correction_command, run_once
from tokenfleet.evaluation.leaderboard.rivals import ShippedRule
from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.evaluation.screen.conclusions import CONSTANTS, FEEDBACK
from tokenfleet.evaluation.screen.found import choice_of
from tokenfleet.evaluation.screen.limit import tolerated_s
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.search import Curve, PlanSearch
from tokenfleet.evaluation.statistics import PairedBootstrap
from tokenfleet.policies.heuristics.linear.features import NAMES
from tokenfleet.policies.registry import Choice

CORRECTIONS = {"corrected rule": ("correction", 0.5), "corrected rule, wide": ("wide_correction", 1.0)}
"""Methods that correct the best rule: the experiment that trains one, and its share of the budget's episodes."""
METHODS = (CONSTANTS, FEEDBACK, *CORRECTIONS)
LEARNED = (FEEDBACK, *CORRECTIONS)
"""The methods whose policies follow the state."""
Measured = Mapping[str, Any]
"""A cell: what a policy comes to in some episodes."""
BASE = "constants before"
"""The constants that feedback goes on from; the limit of feedback is relative to theirs."""


@dataclass(frozen=True)
class Validated:
    """What a policy comes to in the validation episodes.

    Attributes:
        usd: mean net value.
        above_cap_s: mean seconds above a cap.
    """

    usd: float
    above_cap_s: float


@dataclass(frozen=True)
class Learned:
    """What one training seed came to.

    Attributes:
        policies: as the registry takes them, or a folder of a checkpoint, by method.
        validation: of the trained methods, in the episodes that choose one of them, the same for all seeds.
        limit_s: most mean seconds above a cap that the learned methods may take in these episodes; see `limiting`.
        minutes: wall clock of all searches and the corrections, the constants included.
        episodes: of training, of the constants; those of feedback and of the wide correction together.
        curves: of feedback and of the constants; see `PlanSearch.learning_curve`.
    """

    policies: Mapping[str, Choice | Path]
    validation: Mapping[str, Validated]
    limit_s: float
    minutes: float
    episodes: int
    curves: Mapping[str, Curve]

    @property
    def allowed_s(self) -> float:
        """Mean seconds above a cap up to which a policy counts as within the limit."""
        return tolerated_s(self.limit_s)

    @property
    def best(self) -> str:
        """The learned method that validation chooses: the best within the limit, or the one nearest to it."""
        learned = {method: self.validation[method] for method in LEARNED if method in self.validation}
        within = [method for method in learned if learned[method].above_cap_s <= self.allowed_s]
        if within:
            return max(within, key=lambda method: learned[method].usd)
        return min(learned, key=lambda method: learned[method].above_cap_s)


class TrainingSeed:
    """One training seed in a scenario.

    Args:
        scenario: to train in.
        seed: of the training.
        budget: of the training.
        folder: holds one file and one training run a scenario and seed, from which a training goes on.
        workers: that run episodes.
        say: told what begins.

    Raises:
        SpecError: a file in the folder is of another training.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        budget: Budget,
        folder: Path,
        workers: Workers,
        say: Callable[[str], None],
    ) -> None:
        stem = f"{scenario.name}-{seed}"
        header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), "seed": seed}
        header |= {**vars(budget), "features": list(NAMES)}
        self._record = MeasurementFile(folder / f"{stem}.json", header)
        self._scenario, self._seed, self._budget = scenario, seed, budget
        self._runs, self._say = folder, say
        options = Options(seed=seed, generations=budget.generations, control_generations=budget.correction_generations)
        self._cells = validation_cells(scenario, budget.episodes, self._record, workers, say)
        self._search = PlanSearch(scenario, options, budget.episodes, self._record, workers, say)

    def learn(
        self, rules: Mapping[str, Choice], rivals: Mapping[str, Measured], base: ShippedRule, choosing: Cells
    ) -> Learned:
        """Train, or read what has been trained.

        A rule that feedback is clearly ahead of is not corrected.

        Args:
            rules: as the registry takes them, by label.
            rivals: what the same come to in the validation episodes.
            base: the rule that may be corrected.
            choosing: measures in the validation episodes that choose a method.

        Raises:
            SpecError: a training failed.
        """
        policies: dict[str, Choice | Path] = {
            BASE: self._choice(start := self._search.constants()),
            CONSTANTS: self._choice(self._search.constants(is_control=True)),
        }
        before = self._cells.measured(policies)
        rule = strongest_of(rivals)
        cells = self._chosen_by(choosing, {**rules, **policies}, {rule, base.label, CONSTANTS})
        earn_more = validated(before[CONSTANTS]).usd > validated(rivals[rule]).usd
        limiters = limiting(rule, CONSTANTS, earn_more, _clearly_ahead(cells[CONSTANTS], cells[rule]))
        limit_s = fewest_seconds({**rivals, **before}, limiters)
        more_s = limit_s - validated(before[BASE]).above_cap_s
        policies[FEEDBACK] = self._choice(self._search.feedback(start, more_s))
        cells |= self._chosen_by(choosing, policies, {FEEDBACK})
        if not _clearly_ahead(cells[FEEDBACK], cells[base.label]):
            corrected = {method: self._corrected(base, limit_s, method) for method in CORRECTIONS}
            cells |= self._chosen_by(choosing, corrected, corrected)
            policies |= corrected
        minutes = self._record.once("minutes", lambda: self._record.elapsed_s / 60.0)
        validation = {method: validated(cells[method]) for method in METHODS if method in cells}
        allowed_s = fewest_seconds(cells, limiters)
        curves = {
            FEEDBACK: self._search.learning_curve(start, more_s),
            CONSTANTS: self._search.control_curve(),
        }
        return Learned(policies, validation, allowed_s, minutes, self._search.training_episodes(), curves)

    def _corrected(self, base: ShippedRule, limit_s: float, method: str) -> Path:
        """The run of the corrections of a rule."""
        experiment, share = CORRECTIONS[method]
        self._say(f"{experiment} of {base.label}")
        run = self._runs / f"{self._scenario.name}-{self._seed}-{experiment}"
        episodes = round(share * self._budget.correction_episodes)
        limits = {"above_cap_s": limit_s, "above_cap_tolerance_s": tolerated_s(limit_s) - limit_s}
        command = correction_command(self._scenario, experiment, base.typed, limits, self._seed, episodes, run)
        run_once(command, self._scenario, run)
        return run

    def _chosen_by(
        self, choosing: Cells, policies: Mapping[str, Choice | Path], names: Collection[str]
    ) -> dict[str, Measured]:
        """What policies come to in the episodes that choose a method; rules are measured for all seeds at once."""
        on_file = {name: f"{name}/{self._seed}" if name in METHODS else name for name in sorted(names)}
        cells = choosing.measured({on_file[name]: policies[name] for name in on_file})
        return {name: cells[on_file[name]] for name in on_file}

    def _choice(self, plan: Plans) -> dict[str, Any]:
        return choice_of(plan, self._scenario, self._search.scale())


def validated(cell: Measured) -> Validated:
    """The means of a cell."""
    values = cell[VALUE]
    return Validated(float(sum(values) / len(values)), float(cell[SECONDS]))


def strongest_of(cells: Mapping[str, Measured]) -> str:
    """Who earns most."""
    return max(cells, key=lambda name: validated(cells[name]).usd)


def limiting(rule: str, constants: str, earn_more: bool, clearly_ahead: bool) -> list[str]:
    """Whose mean seconds above a cap are the limit, the fewest of them.

    Args:
        rule: name of the strongest rule.
        constants: name of tuned constants.
        earn_more: whether the constants do.
        clearly_ahead: whether the interval of their difference to the rule is above 0. Then the constants alone
            decide, for who earns that much more may take more seconds.
    """
    if not earn_more:
        return [rule]
    return [constants] if clearly_ahead else [rule, constants]


def fewest_seconds(cells: Mapping[str, Measured], names: Collection[str]) -> float:
    """The least mean seconds above a cap among some."""
    return min(validated(cells[name]).above_cap_s for name in names)


def _clearly_ahead(first: Measured, second: Measured) -> bool:
    """Whether the interval of the paired differences of two cells is above 0."""
    return PairedBootstrap(len(first[VALUE])).difference(first[VALUE], second[VALUE]).low > 0.0
