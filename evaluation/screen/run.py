"""A screen from its start to its end: measure what is not on file yet, and conclude."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS, Split
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.offered import offered
from tokenfleet.evaluation.screen import findings
from tokenfleet.evaluation.screen.budget import ENDS_AT, TRAIN_EPISODES, episodes_for
from tokenfleet.evaluation.screen.conclusions import BY_CAP, CAREFUL, CONSTANTS, FEEDBACK, MIDDLE, Measured, conclusions
from tokenfleet.evaluation.screen.criteria import criteria
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.planner import SIZES, planned_value_usd
from tokenfleet.evaluation.screen.plans import Plans, stacked
from tokenfleet.evaluation.screen.probes import absurd, awake_by_cap, frozen
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import (
    Outcome,
    RolloutSetting,
    Workers,
    outcomes,
    rule_outcome,
)
from tokenfleet.evaluation.screen.search import CHOOSING, FEEDBACK_STAGE, FURTHER, PlanSearch, training_seeds
from tokenfleet.evaluation.screen.tuning import POPULATION
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.heuristics.linear.features import FeatureScale
from tokenfleet.policies.heuristics.supervisor import supervisor_parameters
from tokenfleet.policies.registry import POLICIES, make_policy

Float64Array = NDArray[np.float64]

NO_RULES = ("random", "supervisor")
"""Policies that are no rules of their own: one draws its actions, the other holds set-points like those searched."""
STAGES = {CONSTANTS: FURTHER, FEEDBACK: FEEDBACK_STAGE}
"""The searches that the tuned plans are from."""
RULE_GROUPS = ("reference", "baseline")
"""Kinds of shipped policies that count as rules."""
OF_ROOMS = ("thermal_capping",)
"""Rules that act like another one in scenarios without a room."""
OFFERED_EPISODES = 32
REPORTING = CHOOSING + 1
"""Offset of the seeds of the validation episodes that findings are from."""


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
        self,
        scenario: Scenario,
        options: Options,
        record: MeasurementFile,
        workers: Workers,
        say: Callable[[str], None],
    ) -> None:
        self._scenario, self._options, self._record = scenario, options, record
        self._workers, self._say = workers, say
        self._table = tuple(SetpointAction(scenario).table)
        self._episodes = 0  # until the speed is known

    def run(self) -> dict[str, Any]:
        """The findings; they are on file too.

        Raises:
            SpecError: the careful operator, from whom shares are counted, cannot act in the scenario.
        """
        self._check_careful_operator()
        speed = self._once("speed", "speed", self._speed)
        episodes = self._options.episodes or episodes_for(self._options.minutes, speed["episodes_per_s"])
        self._episodes = int(self._record.once("episodes", lambda: episodes))
        rules, refused = self._rules()
        search = PlanSearch(self._scenario, self._options, self._episodes, self._record, self._workers, self._say)
        feedback = search.feedback(search.first())  # first: it says how long constants are searched
        plans = {CONSTANTS: search.constants(), FEEDBACK: feedback}
        best = max(plans, key=lambda name: search.chosen_by(STAGES[name]))
        by_cap = awake_by_cap(self._scenario, self._table, search.scale())
        beside = {f"frozen/{name}": plan for name, plan in frozen(plans[best], self._table).items()}
        beside |= {f"absurd/{name}": plan for name, plan in absurd(plans[best], self._scenario, self._table).items()}
        reported = self._reported({MIDDLE: search.middle(), BY_CAP: by_cap, **plans, **beside}, search.scale())
        load: dict[str, Float64Array] = {split: self._load(split) for split in SPLITS}
        card = conclusions(Measured(rules, refused, reported, best, load), self._scenario.horizon_s) | {
            "scenario": self._scenario.name,
            "speed": speed,
            "budget": {
                "minutes": self._options.minutes,
                "episodes": self._episodes,
                "done": {stage: search.generations(stage) for stage in ENDS_AT},
            },
            "supervisor": supervisor_parameters(self._scenario, plans[CONSTANTS].base[0]),
            "plans": {name: _plain_plan(plan) for name, plan in ({BY_CAP: by_cap} | plans).items()},
        }
        card["planner"] = self._planner(plans[CONSTANTS].base[0], reported[CONSTANTS][VALUE])
        card["elapsed_s"] = self._record.elapsed_s
        card["criteria"] = criteria(card)
        self._record.conclude(card)
        return card

    def _check_careful_operator(self) -> None:
        env = FleetVectorEnv(self._scenario, 1)
        try:
            make_policy(CAREFUL, PolicyContext.from_env(env))
        except SpecError as error:
            problem = f"scenario: shares are counted from {CAREFUL}, which cannot act in it; {error}"
            raise SpecError([problem]) from None
        finally:
            env.close()

    def _once(self, name: str, what: str, measure: Callable[[], Any]) -> Any:
        self._say(what)
        return self._record.once(name, measure)

    def _speed(self) -> dict[str, float]:
        """Of constants: episodes a second of all workers, and ticks a second of one."""
        middle = Plans(np.zeros((1, sum(len(segment.labels) for segment in self._table))))
        plans = stacked([middle] * POPULATION)
        setting = RolloutSetting(self._scenario, "train", training_seeds(self._options.seed, 0, 0))
        self._workers.map(abs, [0] * self._workers.count)  # processes take a while to start
        began = time.monotonic()
        outcomes(setting, plans, self._workers)
        per_s = POPULATION * TRAIN_EPISODES / (time.monotonic() - began)
        return {"episodes_per_s": per_s, "ticks_per_s": per_s * self._scenario.horizon_ticks / self._workers.count}

    def _rules(self) -> tuple[dict[str, Outcome], dict[str, str]]:
        """Results of the shipped rules, and why some are refused."""
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

    def _reported(self, plans: Mapping[str, Plans], scale: FeatureScale) -> dict[str, Outcome]:
        """Outcomes of plans in the episodes behind findings."""
        setting = RolloutSetting(self._scenario, "validation", self._seeds(self._episodes), scale)

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
        """Gains of planning, and of a placebo, over constants; empty without a planner."""
        episodes = min(self._options.planner_episodes, self._episodes)
        if not episodes:
            return {}
        setting = RolloutSetting(self._scenario, "validation", self._seeds(episodes))
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

    def _seeds(self, count: int) -> tuple[int, ...]:
        return tuple(episode_seeds(self._options.seed + REPORTING, count))


def _plain_outcome(outcome: Outcome, row: int) -> dict[str, list[float]]:
    return {name: values[row].tolist() for name, values in outcome.items()}


def _arrays(outcome: Mapping[str, Any]) -> Outcome:
    return {name: np.array(values, np.float64) for name, values in outcome.items()}


def _plain_plan(plan: Plans) -> dict[str, Any]:
    return {"base": plan.base[0].tolist(), "gains": None if plan.gains is None else plan.gains[0].tolist()}
