"""The searches of a screen: constants, and feedback on top of them, within a limit if there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.screen.budget import ENDS_AT, TRAIN_EPISODES, choosing
from tokenfleet.evaluation.screen.limit import SecondsLimit
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, measured_scale
from tokenfleet.evaluation.screen.space import (
    MOST_DIALS,
    PROBED_GAIN,
    Probe,
    Space,
    best_together,
    dials,
    directions,
    numbers_of,
    probes,
)
from tokenfleet.evaluation.screen.stage import Stage
from tokenfleet.evaluation.screen.tuning import POPULATION, tune
from tokenfleet.policies.heuristics.linear.features import FeatureScale
from tokenfleet.policies.search.recorded import thirds

Float64Array = NDArray[np.float64]

FIRST, FEEDBACK_STAGE, FURTHER = ENDS_AT
"""The searches: first constants, then feedback and further constants, which both go on from them."""
FIRST_SPREAD, FURTHER_SPREAD = 0.3, 0.15
"""Standard deviations that searches begin with: of the first constants, and of what goes on from them."""
FIRST_TIMES = 2
"""Generations of the first search, over those of the search of feedback."""
Curve = list[tuple[int, float]]
"""Training episodes so far, and mean net value of a search's centre in the episodes that plans are chosen by [USD]."""
CHOOSING = 1
"""Offset of the seeds of the validation episodes that plans are chosen by."""


class PlanSearch:
    """Tuned plans of a scenario. What has been measured is on file, and not measured again.

    Args:
        scenario: validated.
        options: see there.
        episodes: validation episodes; plans are chosen by a part of as many.
        record: of what has been measured.
        workers: that run episodes.
        say: told what begins.
    """

    def __init__(
        self,
        scenario: Scenario,
        options: Options,
        episodes: int,
        record: MeasurementFile,
        workers: Workers,
        say: Callable[[str], None],
    ) -> None:
        self._scenario, self._options, self._episodes = scenario, options, episodes
        self._record, self._workers, self._say = record, workers, say
        self._table = tuple(SetpointAction(scenario).table)
        self._directions = directions(scenario, self._table)

    def middle(self) -> Plans:
        """The middle of the box, one plan."""
        return Plans(np.zeros((1, self._directions.shape[1])))

    def scale(self) -> FeatureScale:
        """Mean and standard deviation of the features, measured while the middle of the box is held."""

        def measure() -> list[Any]:
            scale = measured_scale(RolloutSetting(self._scenario, "train", self._training_seeds(0, 0)))
            return [scale.mean.tolist(), scale.deviation.tolist()]

        mean, deviation = self._once("scale", "scale of the state", measure)
        return FeatureScale(np.array(mean), np.array(deviation))

    def first(self) -> Plans:
        """Constants, one plan, which all else goes on from."""
        generations = self._options.generations and FIRST_TIMES * self._options.generations
        return self._search(Stage(FIRST, generations), Space(self.middle().base[0], self._directions))

    def constants(self, is_control: bool = False) -> Plans:
        """Constants after as many more episodes as feedback takes, its probes included.

        Where no number of generations was asked for, those that feedback's search has had so far are counted.

        Args:
            is_control: whether the search goes on for as long as feedback that goes on from these constants, and for
                `control_generations`.
        """
        as_many = self._as_many()
        generations = self._control_generations() if is_control else as_many
        return self._search(Stage(FURTHER, generations), Space(self.first().base[0], self._directions))

    def feedback(self, base: Plans, more_above_cap_s: float | None = None) -> Plans:
        """Feedback on top of constants, one plan.

        Args:
            base: the constants.
            more_above_cap_s: limit on mean seconds above a cap in an episode, beyond those of `base` in the same
                episodes; None for no limit [s].
        """
        limit = None if more_above_cap_s is None else SecondsLimit(base, more_above_cap_s)
        stage = Stage(FEEDBACK_STAGE, self._options.generations, limit)
        space, numbers = self._best_dials(base.base[0], stage)
        return self._search(stage, space, numbers)

    def learning_curve(self, base: Plans, more_above_cap_s: float) -> Curve:
        """That of `feedback`, from the middle of the box: constants, constants further, feedback.

        Args:
            base: see `feedback`.
            more_above_cap_s: see `feedback`; the centres of feedback may be beyond the limit.
        """
        assert self._options.generations is not None  # the episodes of a search by the clock differ
        stage = Stage(FEEDBACK_STAGE, self._options.generations, SecondsLimit(base, more_above_cap_s))
        further = FIRST_TIMES * self._options.generations
        feedback = further + 2 * self._as_many() - self._options.generations
        return [
            *self._curve(FIRST, thirds(range(further + 1)), 0),
            *self._curve(FURTHER, thirds(range(self._as_many() + 1)), further),
            *self._curve(stage.label, range(self._options.generations + 1), feedback),
        ]

    def control_curve(self) -> Curve:
        """That of the constants which the control ends with."""
        assert self._options.generations is not None
        first = FIRST_TIMES * self._options.generations
        further = thirds(range(self._control_generations() + 1))
        return [*self._curve(FIRST, thirds(range(first + 1)), 0), *self._curve(FURTHER, further, first)]

    def _curve(self, label: str, generations: Sequence[int], before: int) -> Curve:
        """Values that were measured after some generations of a search, which other generations came before."""
        values = self._record.measured(f"chosen by/{label}/{generations[-1]}")
        if isinstance(values[0], list):
            values = values[0]
        per_generation = POPULATION * TRAIN_EPISODES
        return [(per_generation * (before + done), float(usd)) for done, usd in zip(generations, values, strict=True)]

    def _as_many(self) -> int:
        """Generations that have as many episodes as feedback, its probes included."""
        of_feedback = self._options.generations or self.generations(FEEDBACK_STAGE)
        return of_feedback + -(-self._probed_plans() // POPULATION)

    def _control_generations(self) -> int:
        return 2 * self._as_many() + self._options.control_generations

    def generations(self, stage: str) -> int:
        """Generations of a search."""
        return sum(name.startswith(f"{stage}/") for name in self._record.names())

    def chosen_by(self, stage: str) -> float:
        """Mean value of a search's plan in the validation episodes that plans are chosen by [USD]."""
        names = [name for name in self._record.names() if name.startswith(f"chosen by/{stage}/")]
        return float(max(self._record.measured(names[-1])))

    def training_episodes(self) -> int:
        """Episodes that constants have met."""
        return POPULATION * TRAIN_EPISODES * (self.generations(FIRST) + self.generations(FURTHER))

    def _dials_around(self, start: Float64Array) -> Space:
        return Space(start, self._directions, dials(self._scenario, self._table, self.scale()))

    def _probed_plans(self) -> int:
        """How many plans it takes to know where feedback is searched."""
        space = self._dials_around(self.middle().base[0])
        return 1 + len(probes(space, PROBED_GAIN)) + min(MOST_DIALS, len(space.dials))

    def _best_dials(self, start: Float64Array, stage: Stage) -> tuple[Space, Float64Array]:
        """Where feedback is searched, and the best numbers there so far.

        Every dial is probed alone, then the best one, the two best and so on together.
        """
        space = self._dials_around(start)
        alone = probes(space, PROBED_GAIN)
        merits = self._probed("dials", space, [[], *([probe] for probe in alone)], stage)
        return best_together(space, alone, merits[1:], lambda sets: self._probed("dials together", space, sets, stage))

    def _probed(self, what: str, space: Space, sets: Sequence[Sequence[Probe]], stage: Stage) -> list[float]:
        """Merits of sets of dials turned at once, on top of the space's start."""
        plans = space.plans(np.array([numbers_of(space, turned) for turned in sets]))
        setting = RolloutSetting(self._scenario, "train", self._training_seeds(len(ENDS_AT) + 1, 0), self.scale())
        name = f"{what}{stage.within}"
        measured = self._once(name, name, lambda: stage.measured(setting, plans, self._workers))
        merits: list[float] = stage.merits(measured, self._price(stage), 0).tolist()
        return merits

    def _price(self, stage: Stage) -> float:
        """Of a second beyond the limit in the first generation [USD/s], from the dials that were probed alone."""
        return 0.0 if stage.limit is None else stage.first_price(self._record.measured(f"dials{stage.within}"))

    def _search(self, stage: Stage, space: Space, start: Float64Array | None = None) -> Plans:
        """The centre of a search that does best in the episodes for choosing plans, one plan.

        Where there is a limit the choice is among the centres of all generations, for some of them cross it.
        """
        number = 1 + list(ENDS_AT).index(stage.name)
        spread = FIRST_SPREAD if stage.name == FIRST else FURTHER_SPREAD
        scale = self.scale() if space.dials else None
        price = self._price(stage)
        centre = np.zeros(len(self._directions)) if start is None else start

        def merits(numbers: Float64Array, generation: int) -> Float64Array:
            self._say(f"{stage.label}: generation {generation + 1}")
            setting = RolloutSetting(self._scenario, "train", self._training_seeds(number, generation), scale)
            measured = stage.measured(setting, space.plans(numbers), self._workers)
            return stage.merits(measured, price, generation)

        seed, goes_on = 10 * self._options.seed + number, partial(self._goes_on, stage.name)
        centres = tune(self._record, stage.label, centre, spread, stage.generations, seed, merits, goes_on)
        plans = space.plans(np.array(centres if stage.limit else thirds(centres)))
        setting = RolloutSetting(self._scenario, "validation", self._choosing_seeds(), scale)
        name = f"chosen by/{stage.label}/{stage.generations or self.generations(stage.label)}"
        choice = self._once(name, f"{stage.label}: choice", lambda: stage.measured(setting, plans, self._workers))
        best = int(np.argmax(stage.ranked(choice)))
        return plans.part(slice(best, best + 1))

    def _goes_on(self, stage: str) -> bool:
        """Whether a search has time left; always, if its length was asked for."""
        over_s = ENDS_AT[stage] * 60.0 * self._options.minutes
        return self._options.generations is not None or self._record.elapsed_s < over_s

    def _once(self, name: str, what: str, measure: Callable[[], Any]) -> Any:
        self._say(what)
        return self._record.once(name, measure)

    def _choosing_seeds(self) -> tuple[int, ...]:
        return tuple(episode_seeds(self._options.seed + CHOOSING, choosing(self._episodes)))

    def _training_seeds(self, stage: int, generation: int) -> tuple[int, ...]:
        return training_seeds(self._options.seed, stage, generation)


def training_seeds(seed: int, stage: int, generation: int) -> tuple[int, ...]:
    """Of the training episodes that a generation of a search meets."""
    rng = np.random.default_rng([seed, stage, generation])
    return tuple(int(one) for one in rng.integers(2**31, size=TRAIN_EPISODES))
