"""A screen from its start to its end: measure what is not on file yet, and conclude."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import SPLITS, Split
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.offered import QUANTITIES, differences, offered
from tokenfleet.evaluation.screen import findings
from tokenfleet.evaluation.screen.budget import ENDS_AT, TRAIN_EPISODES, episodes_for
from tokenfleet.evaluation.screen.features import NAMES, Scale, steered_entries
from tokenfleet.evaluation.screen.planner import SIZES, planned_value_usd
from tokenfleet.evaluation.screen.plans import Plans, stacked, supervisor_parameters
from tokenfleet.evaluation.screen.probes import absurd, frozen
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import (
    Outcome,
    Setting,
    Workers,
    measured_scale,
    outcomes,
    rule_outcome,
)
from tokenfleet.evaluation.screen.tuning import POPULATION, tune
from tokenfleet.policies.registry import POLICIES

Float64Array = NDArray[np.float64]

NO_RULES = ("random", "supervisor")
"""Policies that are no rule of their own: one draws, one holds what the search starts beside."""
RULE_GROUPS = ("reference", "baseline")
"""Kinds of shipped policies that count as rules."""
MIDDLE = "middle of the set-points"
OFFERED_EPISODES = 32
FIRST_SPREAD, FURTHER_SPREAD = 0.3, 0.15
"""Standard deviations that searches begin with: of constants, and of what goes on from them."""
CHOOSING, REPORTING = 1, 2
"""Offsets of the seeds of the validation episodes that plans are chosen by, and that findings are from."""


@dataclass(frozen=True)
class Options:
    """What a person may set.

    Attributes:
        minutes: for the whole screen.
        seed: of searches and episodes.
        generations: of each search; None for as many as fit the minutes.
        episodes: validation episodes; None for as many as fit the minutes.
        planner_episodes: validation episodes that a planner and its placebo meet; 0 for no planner.
    """

    minutes: float = 15.0
    seed: int = 0
    generations: int | None = None
    episodes: int | None = None
    planner_episodes: int = 0


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
        self._entries = sum(len(segment.labels) for segment in self._table)
        self._steered = len(steered_entries(scenario, self._table)[0])
        self._episodes = 0  # until the speed is known
        self._middle = Plans(np.zeros((1, self._entries)))

    def run(self) -> dict[str, Any]:
        """The findings; they are on file too."""
        speed = self._once("speed", "speed", self._speed)
        episodes = self._options.episodes or episodes_for(self._options.minutes, speed["episodes_per_s"])
        self._episodes = int(self._record.once("episodes", lambda: episodes))
        rules, refused = self._rules()
        plans = self._plans()
        best = self._chosen_name(plans)
        beside = {f"frozen/{name}": plan for name, plan in frozen(plans[best], self._table).items()}
        beside |= {f"absurd/{name}": plan for name, plan in absurd(plans[best], self._scenario, self._table).items()}
        reported = self._reported({MIDDLE: self._middle, **plans, **beside})
        load: dict[str, Float64Array] = {split: self._load(split) for split in SPLITS}
        card = self._card(rules, refused, reported, best, load) | {
            "scenario": self._scenario.name,
            "speed": speed,
            "budget": {
                "minutes": self._options.minutes,
                "episodes": self._episodes,
                "done": {stage: self._done(stage) for stage in ENDS_AT},
            },
            "supervisor": supervisor_parameters(self._scenario, plans["tuned constants"].base[0]),
            "plans": {name: _plain_plan(plan) for name, plan in plans.items()},
        }
        card["planner"] = self._planner(plans["tuned constants"].base[0], reported["tuned constants"][findings.VALUE])
        card["elapsed_s"] = self._record.elapsed_s
        self._record.conclude(card)
        return card

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
        names = [name for name, preset in POLICIES.items() if preset.group in RULE_GROUPS and name not in NO_RULES]
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
        """The tuned plans: feedback on top of constants, and constants after at most as many more generations."""
        first = self._search("constants", self._middle.flat()[0], FIRST_SPREAD, self._options.generations, None)
        zeros = np.zeros(self._steered * len(NAMES))
        start = np.concatenate([first.flat()[0], zeros])
        state = self._search("feedback", start, FURTHER_SPREAD, self._options.generations, self._scale())
        as_many = self._done("feedback")
        further = self._search("constants further", first.flat()[0], FURTHER_SPREAD, as_many, None)
        return {"tuned constants": further, "tuned feedback": state}

    def _search(
        self, stage: str, start: Float64Array, spread: float, generations: int | None, scale: Scale | None
    ) -> Plans:
        """The centre of a search that does best in the episodes that plans are chosen by, one plan."""
        number = 1 + list(ENDS_AT).index(stage)

        def values(flat: Float64Array, generation: int) -> Float64Array:
            self._say(f"{stage}: generation {generation + 1}")
            setting = Setting(self._scenario, "train", self._training_seeds(number, generation), scale)
            found: Float64Array = outcomes(setting, self._of_flat(flat), self._workers)[findings.VALUE].mean(axis=1)
            return found

        seed, goes_on = 10 * self._options.seed + number, partial(self._goes_on, stage)
        plans = self._of_flat(np.array(tune(self._record, stage, start, spread, generations, seed, values, goes_on)))
        setting = Setting(self._scenario, "validation", self._seeds(CHOOSING, self._episodes), scale)
        means = self._once(
            f"chosen by/{stage}",
            f"{stage}: choice",
            lambda: outcomes(setting, plans, self._workers)[findings.VALUE].mean(axis=1).tolist(),
        )
        best = int(np.argmax(means))
        return plans.part(slice(best, best + 1))

    def _of_flat(self, flat: Float64Array) -> Plans:
        return Plans.of_flat(flat, self._entries, len(NAMES))

    def _goes_on(self, stage: str) -> bool:
        """Whether a search has time left; always, if its length was asked for."""
        over_s = ENDS_AT[stage] * 60.0 * self._options.minutes
        return self._options.generations is not None or self._record.elapsed_s < over_s

    def _done(self, stage: str) -> int:
        """Generations of a search."""
        return sum(name.startswith(f"{stage}/") for name in self._record.names())

    def _chosen_name(self, plans: Mapping[str, Plans]) -> str:
        """The better of the tuned plans by the episodes that plans are chosen by."""
        stages = {"tuned constants": "constants further", "tuned feedback": "feedback"}
        return max(plans, key=lambda name: max(self._record.measured(f"chosen by/{stages[name]}")))

    def _scale(self) -> Scale:
        setting = Setting(self._scenario, "train", self._training_seeds(0, 0))

        def measure() -> list[Any]:
            scale = measured_scale(setting)
            return [scale.mean.tolist(), scale.deviation.tolist()]

        mean, deviation = self._once("scale", "scale of the state", measure)
        return Scale(np.array(mean), np.array(deviation))

    def _reported(self, plans: Mapping[str, Plans]) -> dict[str, Outcome]:
        """What plans come to in the episodes that findings are from."""
        setting = Setting(self._scenario, "validation", self._seeds(REPORTING, self._episodes), self._scale())

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

    def _card(
        self,
        rules: Mapping[str, Outcome],
        refused: Mapping[str, str],
        reported: Mapping[str, Outcome],
        best: str,
        load: Mapping[str, Float64Array],
    ) -> dict[str, Any]:
        value = findings.VALUE
        tuned = {name: reported[name] for name in (MIDDLE, "tuned constants", "tuned feedback")}
        everyone = {**rules, **tuned}
        best_rule = findings.best_of(rules)
        best_known = findings.best_of(everyone)
        aside, _ = differences(load)
        offered_usd = float(load["validation"][:, QUANTITIES.index("value_usd")].mean())
        return {
            "values": {name: findings.mean_of(outcome[value]) for name, outcome in everyone.items()},
            "best_rule": best_rule,
            "best_known": best_known,
            "refused": dict(refused),
            "headroom": findings.against(everyone[best_known][value], rules[best_rule][value]),
            "state": findings.against(tuned["tuned feedback"][value], tuned["tuned constants"][value]),
            "saturation": findings.saturation(everyone[best_known], offered_usd),
            "knobs_of": best,
            "knobs": findings.knobs(reported[best][value], _under("frozen/", reported)),
            "absurd": findings.absurd_optima(
                reported[best][value], _under("absurd/", reported), self._scenario.horizon_s, reported[best]
            ),
            "alike": findings.alike(rules),
            "offered": {
                split: dict(zip(QUANTITIES, row, strict=True)) for split, row in zip(load, aside.tolist(), strict=True)
            },
        }

    def _seeds(self, offset: int, count: int) -> tuple[int, ...]:
        return tuple(episode_seeds(self._options.seed + offset, count))

    def _training_seeds(self, stage: int, generation: int) -> tuple[int, ...]:
        rng = np.random.default_rng([self._options.seed, stage, generation])
        return tuple(int(seed) for seed in rng.integers(2**31, size=TRAIN_EPISODES))


def _under(prefix: str, reported: Mapping[str, Outcome]) -> dict[str, Outcome]:
    return {name.removeprefix(prefix): outcome for name, outcome in reported.items() if name.startswith(prefix)}


def _plain_outcome(outcome: Outcome, row: int) -> dict[str, list[float]]:
    return {name: values[row].tolist() for name, values in outcome.items()}


def _arrays(outcome: Mapping[str, Any]) -> Outcome:
    return {name: np.array(values, np.float64) for name, values in outcome.items()}


def _plain_plan(plan: Plans) -> dict[str, Any]:
    return {"base": plan.base[0].tolist(), "gains": None if plan.gains is None else plan.gains[0].tolist()}
