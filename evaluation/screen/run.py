"""A screen from its start to its end: measure what is not on file yet, and conclude."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import SPLITS, Split
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.offered import offered
from tokenfleet.evaluation.screen import findings
from tokenfleet.evaluation.screen.budget import ENDS_AT, TRAIN_EPISODES, choosing, episodes_for
from tokenfleet.evaluation.screen.conclusions import BY_CAP, CONSTANTS, FEEDBACK, MIDDLE, Measured, conclusions
from tokenfleet.evaluation.screen.criteria import criteria
from tokenfleet.evaluation.screen.planner import SIZES, planned_value_usd
from tokenfleet.evaluation.screen.plans import Plans, stacked
from tokenfleet.evaluation.screen.probes import absurd, awake_by_cap, frozen
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import (
    Outcome,
    Setting,
    Workers,
    measured_scale,
    outcomes,
    rule_outcome,
)
from tokenfleet.evaluation.screen.space import (
    Probe,
    Space,
    best_by_dial,
    dials,
    directions,
    narrowed,
    numbers_of,
    probes,
)
from tokenfleet.evaluation.screen.tuning import POPULATION, tune
from tokenfleet.policies.heuristics.linear.features import Scale
from tokenfleet.policies.heuristics.supervisor import supervisor_parameters
from tokenfleet.policies.registry import POLICIES

Float64Array = NDArray[np.float64]

NO_RULES = ("random", "supervisor")
"""Policies that are no rule of their own: one draws, one holds what the search starts beside."""
RULE_GROUPS = ("reference", "baseline")
"""Kinds of shipped policies that count as rules."""
OF_ROOMS = ("thermal_capping",)
"""Rules that are another one where there is no room."""
OFFERED_EPISODES = 32
FIRST_SPREAD, FURTHER_SPREAD = 0.3, 0.15
"""Standard deviations that searches begin with: of constants, and of what goes on from them."""
FIRST_TIMES = 2
"""Generations of the first search, over those of each search that goes on from it."""
PROBED_GAIN, MOST_DIALS = 0.3, 8
"""Gain at which a dial is probed; and how many of the best are searched."""
CHOOSING, REPORTING = 1, 2
"""Offsets of the seeds of the validation episodes that plans are chosen by, and that findings are from."""


@dataclass(frozen=True)
class Options:
    """What a person may set.

    Attributes:
        minutes: for the whole screen.
        seed: of searches and episodes.
        generations: of the search of feedback; the first search of constants takes twice as many, and the one that
            goes on as long as feedback and its probes took. None for as many as fit the minutes.
        episodes: validation episodes; None for as many as fit the minutes.
        planner_episodes: validation episodes that a planner and its placebo meet; 0 for no planner.
        control_generations: of constants, beyond those that feedback and its probes took.
    """

    minutes: float = 15.0
    seed: int = 0
    generations: int | None = None
    episodes: int | None = None
    planner_episodes: int = 0
    control_generations: int = 0


class Screen:
    """One scenario under the screen.

    Args:
        scenario: validated.
        options: see there.
        record: of what has been measured.
        workers: that run episodes.
        say: told what begins.
    """

    def __init__(
        self, scenario: Scenario, options: Options, record: Record, workers: Workers, say: Callable[[str], None]
    ) -> None:
        self._scenario, self._options, self._record = scenario, options, record
        self._workers, self._say = workers, say
        self._table = tuple(SetpointAction(scenario).table)
        self._directions = directions(scenario, self._table)
        self._episodes = 0  # until the speed is known
        self._middle = Plans(np.zeros((1, self._directions.shape[1])))

    def run(self) -> dict[str, Any]:
        """The findings; they are on file too."""
        speed = self._begin()
        rules, refused = self._rules()
        plans = self._plans()
        best = max(plans, key=self.chosen_by)
        by_cap = awake_by_cap(self._scenario, self._table, self.scale())
        beside = {f"frozen/{name}": plan for name, plan in frozen(plans[best], self._table).items()}
        beside |= {f"absurd/{name}": plan for name, plan in absurd(plans[best], self._scenario, self._table).items()}
        reported = self._reported({MIDDLE: self._middle, BY_CAP: by_cap, **plans, **beside})
        load: dict[str, Float64Array] = {split: self._load(split) for split in SPLITS}
        card = conclusions(Measured(rules, refused, reported, best, load), self._scenario.horizon_s) | {
            "scenario": self._scenario.name,
            "speed": speed,
            "budget": {
                "minutes": self._options.minutes,
                "episodes": self._episodes,
                "done": {stage: self.generations(stage) for stage in ENDS_AT},
            },
            "supervisor": supervisor_parameters(self._scenario, plans[CONSTANTS].base[0]),
            "plans": {name: _plain_plan(plan) for name, plan in ({BY_CAP: by_cap} | plans).items()},
        }
        card["planner"] = self._planner(plans[CONSTANTS].base[0], reported[CONSTANTS][findings.VALUE])
        card["elapsed_s"] = self._record.elapsed_s
        card["criteria"] = criteria(card)
        self._record.conclude(card)
        return card

    def search(self) -> dict[str, Plans]:
        """The tuned plans alone, one of constants and one of feedback, as `run` finds them."""
        self._begin()
        return self._plans()

    def learn(self) -> dict[str, Plans]:
        """The same with the constants that feedback goes on from, which have met fewer episodes than feedback."""
        self._begin()
        first, feedback, _ = self._first_and_feedback()
        return {CONSTANTS: first, FEEDBACK: feedback}

    def chosen_by(self, plan: str) -> float:
        """Mean value of a tuned plan in the validation episodes that plans are chosen by [USD]."""
        stages = {CONSTANTS: "constants further", FEEDBACK: "feedback"}
        return float(max(self._record.measured(f"chosen by/{stages[plan]}")))

    def scale(self) -> Scale:
        """Mean and standard deviation of the features, measured while the middle of the box is held."""
        setting = Setting(self._scenario, "train", self._training_seeds(0, 0))

        def measure() -> list[Any]:
            scale = measured_scale(setting)
            return [scale.mean.tolist(), scale.deviation.tolist()]

        mean, deviation = self._once("scale", "scale of the state", measure)
        return Scale(np.array(mean), np.array(deviation))

    def generations(self, stage: str) -> int:
        """Generations of a search."""
        return sum(name.startswith(f"{stage}/") for name in self._record.names())

    def _begin(self) -> dict[str, float]:
        """Settle how many validation episodes there are; the speed that they depend on."""
        speed: dict[str, float] = self._once("speed", "speed", self._speed)
        episodes = self._options.episodes or episodes_for(self._options.minutes, speed["episodes_per_s"])
        self._episodes = int(self._record.once("episodes", lambda: episodes))
        return speed

    def _once(self, name: str, what: str, measure: Callable[[], Any]) -> Any:
        self._say(what)
        return self._record.once(name, measure)

    def _speed(self) -> dict[str, float]:
        """Of constants: episodes a second of all workers, and ticks a second of one."""
        plans = stacked([self._middle] * POPULATION)
        setting = Setting(self._scenario, "train", self._training_seeds(0, 0))
        self._workers.map(abs, [0] * self._workers.count)  # processes take a while to start
        began = time.monotonic()
        outcomes(setting, plans, self._workers)
        per_s = POPULATION * TRAIN_EPISODES / (time.monotonic() - began)
        return {"episodes_per_s": per_s, "ticks_per_s": per_s * self._scenario.horizon_ticks / self._workers.count}

    def _rules(self) -> tuple[dict[str, Outcome], dict[str, str]]:
        """What the shipped rules come to, and why some are refused."""
        without = NO_RULES if self._scenario.rooms else (*NO_RULES, *OF_ROOMS)
        names = [name for name, preset in POLICIES.items() if preset.group in RULE_GROUPS and name not in without]
        seed = self._options.seed + REPORTING

        def measure() -> dict[str, Any]:
            done = self._workers.map(partial(rule_outcome, self._scenario, "validation", seed, self._episodes), names)
            return {
                name: outcome if isinstance(outcome, str) else _plain_outcome(outcome, 0)
                for name, outcome in zip(names, done, strict=True)
            }

        found = self._once("rules", "rules", measure)
        refused = {name: outcome for name, outcome in found.items() if isinstance(outcome, str)}
        return {name: _arrays(found[name]) for name in found if name not in refused}, refused

    def _plans(self) -> dict[str, Plans]:
        """The tuned plans: feedback on top of constants, and constants after as many more episodes."""
        first, feedback, probed = self._first_and_feedback()
        again = Space(first.base[0], self._directions)
        as_many = self.generations("feedback") + -(-probed // POPULATION) + self._options.control_generations
        further = self._search("constants further", again, np.zeros(len(self._directions)), as_many)
        return {CONSTANTS: further, FEEDBACK: feedback}

    def _first_and_feedback(self) -> tuple[Plans, Plans, int]:
        """Constants, feedback on top of them, and how many plans it took to know where feedback is searched."""
        middle = Space(self._middle.base[0], self._directions)
        first_generations = self._options.generations and FIRST_TIMES * self._options.generations
        first = self._search("constants", middle, np.zeros(len(self._directions)), first_generations)
        best, probed = self._best_dials(first.base[0])
        return first, self._search("feedback", best[0], best[1], self._options.generations), probed

    def _best_dials(self, start: Float64Array) -> tuple[tuple[Space, Float64Array], int]:
        """Where feedback is searched, the best numbers there so far, and how many plans it took to know.

        Every dial is probed alone, then the best one, the two best and so on together.
        """
        space = Space(start, self._directions, dials(self._scenario, self._table, self.scale()))
        alone = probes(space, PROBED_GAIN)
        values = self._probed("dials", space, [[], *([probe] for probe in alone)])
        best = best_by_dial(alone, values[1:], MOST_DIALS)
        sets = [best[: count + 1] for count in range(len(best))]
        together = numbers_of(space, sets[int(np.argmax(self._probed("dials together", space, sets)))])
        chosen, numbers = narrowed(space, together, sorted(probe.dial for probe in best))
        return (chosen, numbers), len(alone) + 1 + len(sets)

    def _probed(self, name: str, space: Space, sets: Sequence[Sequence[Probe]]) -> list[float]:
        """Mean values of sets of dials turned at once, on top of the space's start [USD]."""
        plans = space.plans(np.array([numbers_of(space, turned) for turned in sets]))
        setting = Setting(self._scenario, "train", self._training_seeds(len(ENDS_AT) + 1, 0), self.scale())
        values: list[float] = self._once(
            name, name, lambda: outcomes(setting, plans, self._workers)[findings.VALUE].mean(axis=1).tolist()
        )
        return values

    def _search(self, stage: str, space: Space, start: Float64Array, generations: int | None) -> Plans:
        """The centre of a search that does best in the episodes that plans are chosen by, one plan."""
        number = 1 + list(ENDS_AT).index(stage)
        spread = FIRST_SPREAD if stage == "constants" else FURTHER_SPREAD
        scale = self.scale() if space.dials else None

        def values(numbers: Float64Array, generation: int) -> Float64Array:
            self._say(f"{stage}: generation {generation + 1}")
            setting = Setting(self._scenario, "train", self._training_seeds(number, generation), scale)
            found: Float64Array = outcomes(setting, space.plans(numbers), self._workers)[findings.VALUE].mean(axis=1)
            return found

        seed, goes_on = 10 * self._options.seed + number, partial(self._goes_on, stage)
        plans = space.plans(np.array(tune(self._record, stage, start, spread, generations, seed, values, goes_on)))
        setting = Setting(self._scenario, "validation", self._seeds(CHOOSING, choosing(self._episodes)), scale)
        means = self._once(
            f"chosen by/{stage}",
            f"{stage}: choice",
            lambda: outcomes(setting, plans, self._workers)[findings.VALUE].mean(axis=1).tolist(),
        )
        best = int(np.argmax(means))
        return plans.part(slice(best, best + 1))

    def _goes_on(self, stage: str) -> bool:
        """Whether a search has time left; always, if its length was asked for."""
        over_s = ENDS_AT[stage] * 60.0 * self._options.minutes
        return self._options.generations is not None or self._record.elapsed_s < over_s

    def _reported(self, plans: Mapping[str, Plans]) -> dict[str, Outcome]:
        """What plans come to in the episodes that findings are from."""
        setting = Setting(self._scenario, "validation", self._seeds(REPORTING, self._episodes), self.scale())

        def measure() -> dict[str, Any]:
            constants = {name: plan for name, plan in plans.items() if plan.gains is None}
            moved = {name: plan for name, plan in plans.items() if plan.gains is not None}
            found: dict[str, Any] = {}
            for kind in (constants, moved):
                if kind:
                    done = outcomes(setting, stacked(list(kind.values())), self._workers)
                    found |= {name: _plain_outcome(done, row) for row, name in enumerate(kind)}
            return found

        measured = self._once("reported", "tuned plans, knobs and absurd plans", measure)
        return {name: _arrays(outcome) for name, outcome in measured.items()}

    def _planner(self, base: Float64Array, constants_usd: Float64Array) -> dict[str, dict[str, float]]:
        """What planning gains over constants, and what a placebo does; empty without a planner."""
        episodes = min(self._options.planner_episodes, self._episodes)
        if not episodes:
            return {}
        setting = Setting(self._scenario, "validation", self._seeds(REPORTING, episodes))
        plan = partial(planned_value_usd, setting, base, self._options.seed)

        def measure() -> dict[str, list[float]]:
            done = self._workers.map(plan, list(SIZES.values()))
            return {name: values.tolist() for name, values in zip(SIZES, done, strict=True)}

        measured = self._once("planner", "planner and placebo", measure)
        return {name: findings.against(np.array(measured[name]), constants_usd[:episodes]) for name in SIZES}

    def _load(self, split: Split) -> Float64Array:
        rows = self._once(
            f"offered/{split}", "offered load", lambda: offered(self._scenario, split, OFFERED_EPISODES).tolist()
        )
        return np.array(rows)

    def _seeds(self, offset: int, count: int) -> tuple[int, ...]:
        return tuple(episode_seeds(self._options.seed + offset, count))

    def _training_seeds(self, stage: int, generation: int) -> tuple[int, ...]:
        rng = np.random.default_rng([self._options.seed, stage, generation])
        return tuple(int(seed) for seed in rng.integers(2**31, size=TRAIN_EPISODES))


def _plain_outcome(outcome: Outcome, row: int) -> dict[str, list[float]]:
    return {name: values[row].tolist() for name, values in outcome.items()}


def _arrays(outcome: Mapping[str, Any]) -> Outcome:
    return {name: np.array(values, np.float64) for name, values in outcome.items()}


def _plain_plan(plan: Plans) -> dict[str, Any]:
    return {"base": plan.base[0].tolist(), "gains": None if plan.gains is None else plan.gains[0].tolist()}
