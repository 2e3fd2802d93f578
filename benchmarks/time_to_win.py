"""How long learning takes to beat every rule: `python -m benchmarks.time_to_win [--scenario NAME] [--docs docs]`.

The learner is that of `tune.py policy=linear_feedback`, with fewer generations: CMA-ES of constant set-points, then
every gain that has a reason alone, then CMA-ES of the best eight. The clock stands still while rules are measured and
processes start, and runs while the learner is validated. The measurement stops when the learner is ahead of every
shipped rule in the validation episodes, with the 95 % interval of each paired difference above zero. Two clocks are
told: the wall's, and the processor's, which leaves out what a shared machine does for others. The processor's clock
adds up the time of this process and, in every round of work, that of the slowest worker.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.laboratory import Laboratory
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.evaluation.contenders.cells import MIDDLE, contenders, measure_cell
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.search import FIRST_SPREAD, FURTHER_SPREAD
from tokenfleet.evaluation.screen.space import (
    PROBED_GAIN,
    Probe,
    Space,
    best_together,
    dials,
    directions,
    numbers_of,
    probes,
)
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap
from tokenfleet.evaluation.style import INK, PALETTE, house_style, new_figure, save
from tokenfleet.policies.search.covariance import CovarianceSearch

Float64Array = NDArray[np.float64]
VALIDATION_SEED = 2_000
CONFIRMED = "confirmed"
"""Stage of the validation on episodes that stopped nothing."""


@dataclass(frozen=True)
class Budget:
    """How the learner spends its episodes.

    Attributes:
        constants: generations of constants.
        population: candidates of a generation.
        episodes: training episodes that the candidates of a generation meet, and every probe.
        every: generations between two validations.
        most: generations of feedback at most.
    """

    constants: int
    population: int
    episodes: int
    every: int
    most: int


@dataclass(frozen=True)
class Validation:
    """One validation.

    Attributes:
        seed: of the learner.
        stage: what was searched last.
        wall_s: since the learner began [s].
        processor_s: on the processor's clock, also since the learner began [s].
        episodes: of training so far.
        value_usd: mean net value.
        rule: the one that the learner is least ahead of, by the lower end of the interval.
        ahead_usd, low_usd, high_usd: mean paired difference to that rule with its 95 % interval.
    """

    seed: int
    stage: str
    wall_s: float
    processor_s: float
    episodes: int
    value_usd: float
    rule: str
    ahead_usd: float
    low_usd: float
    high_usd: float


def learned(lab: Laboratory, budget: Budget, seed: int) -> Iterator[tuple[str, Plans]]:
    """The learner's plan whenever it may be validated, and what it has searched last."""
    table = tuple(SetpointAction(lab.scenario).table)
    moves = directions(lab.scenario, table)
    plan = Plans(np.zeros((1, moves.shape[1])))
    space, start = Space(plan.base[0], moves), np.zeros(len(moves))
    for generation, plan in enumerate(_evolved(lab, space, start, FIRST_SPREAD, budget.constants, budget, seed), 1):
        if generation % budget.every == 0:
            yield "constants", plan
    every = dials(lab.scenario, table, lab.measure_scale(budget.episodes))
    space, start = _best_dials(lab, Space(plan.base[0], moves, every), budget)
    yield "probes", space.plans(start[None])
    for generation, plan in enumerate(_evolved(lab, space, start, FURTHER_SPREAD, budget.most, budget, seed), 1):
        if generation % budget.every == 0:
            yield "feedback", plan


def _evolved(
    lab: Laboratory, space: Space, start: Float64Array, spread: float, generations: int, budget: Budget, seed: int
) -> Iterator[Plans]:
    """The centre of a search after each of its generations."""
    search = CovarianceSearch(start, spread, budget.population, seed)
    for _ in range(generations):
        search.tell(lab.train(space.plans(search.ask()), budget.episodes))
        yield space.plans(search.centre[None])


def _best_dials(lab: Laboratory, space: Space, budget: Budget) -> tuple[Space, Float64Array]:
    """Where feedback is searched, and the best numbers there so far: dials alone, then the best ones together."""

    def gained(sets: Sequence[Sequence[Probe]]) -> list[float]:
        values = lab.train(space.plans(np.array([numbers_of(space, turned) for turned in sets])), budget.episodes)
        return [float(value) for value in values]

    alone = probes(space, PROBED_GAIN)
    return best_together(space, alone, gained([[probe] for probe in alone]), gained)


def raced(
    lab: Laboratory, budget: Budget, seed: int, rules: Mapping[str, Float64Array], seeds: Sequence[int]
) -> Iterator[Validation]:
    """Validations of a learner until the learner is ahead of every rule, and one more in episodes that stopped nothing.

    Args:
        lab: where it learns; its clocks have just begun.
        budget: of the learner.
        seed: of the learner.
        rules: value of every rule in the validation episodes, `[2 E]` [USD].
        seeds: of these episodes; the first half stops the learner.
    """
    half = len(seeds) // 2

    def check(stage: str, plan: Plans, part: slice) -> Validation:
        value = lab.validate(plan, seeds[part])[0]
        ahead = {name: PairedBootstrap(half).difference(value, usd[part]) for name, usd in rules.items()}
        rule = min(ahead, key=lambda name: ahead[name].low)
        one: Interval = ahead[rule]
        clocks = lab.clocks_s()
        return Validation(
            seed, stage, *clocks, lab.episodes, float(value.mean()), rule, one.estimate, one.low, one.high
        )

    for stage, plan in learned(lab, budget, seed):
        found = check(stage, plan, slice(half))
        yield found
        if found.low_usd > 0.0:
            yield check(CONFIRMED, plan, slice(half, None))
            return


def rule_values(scenario: Scenario, episodes: int, out: Path, workers: Workers) -> dict[str, Float64Array]:
    """Value of every shipped rule in the validation episodes, `[E]` [USD]; measured once for a scenario."""
    names = [name for name in contenders([]) if name != MIDDLE]
    header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), "episodes": episodes}
    record = MeasurementFile(out / f"{scenario.name}-rules.json", header)
    missing = [name for name in names if name not in record.names()]
    for first in range(0, len(missing), workers.count):
        some = missing[first : first + workers.count]
        print(f"\rrules: {first} of {len(missing)}", end="", file=sys.stderr)
        done = workers.map(partial(_rule, scenario, episodes), some)
        for name, values in zip(some, done, strict=True):
            record.keep(name, values)
    found = {name: record.measured(name) for name in names}
    return {name: np.array(values) for name, values in found.items() if values}


def _rule(scenario: Scenario, episodes: int, name: str) -> list[float]:
    """Value of a rule in every validation episode [USD]; empty where the rule refuses the scenario."""
    values: list[float] = measure_cell(scenario, name, episodes, VALIDATION_SEED).get(VALUE, [])
    return values


def draw(checks: Sequence[Validation], scenario: str, path: Path) -> Path:
    """How far ahead the learner of every seed is, over the processor's time."""
    with house_style():
        figure, axes = new_figure(1, 1, 7.0, 3.4)
        ax = axes[0, 0]
        ax.axhline(0.0, color=INK, linewidth=1.0)
        for number, seed in enumerate(dict.fromkeys(one.seed for one in checks)):
            ours = [one for one in checks if one.seed == seed and one.stage != CONFIRMED]
            at, colour = [one.processor_s for one in ours], PALETTE[number % len(PALETTE)]
            ax.plot(at, [one.ahead_usd for one in ours], "o-", color=colour, markersize=3.5, label=f"seed {seed}")
            ax.fill_between(at, [one.low_usd for one in ours], [one.high_usd for one in ours], color=colour, alpha=0.15)
        ax.set_xlim(left=0.0)
        ax.set_xlabel("processor time of whoever was slowest, s; 95 % intervals on validation episodes")
        ax.set_ylabel("ahead of the best rule, USD an episode")
        ax.set_title(f"Learning on {scenario} until every shipped rule is beaten")
        ax.legend(loc="lower right")
        return save(figure, path)


def write_csv(checks: Sequence[Validation], path: Path) -> None:
    """Write every validation, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Validation)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(one) for one in checks)
    replace_file(path, text.getvalue().encode())


def _run(typed: argparse.Namespace) -> None:
    scenario, out = load_scenario(typed.scenario), Path(typed.out)
    budget = Budget(typed.constants, typed.population, typed.episodes, typed.every, typed.most)
    seeds, checks = episode_seeds(VALIDATION_SEED, 2 * typed.validation), list[Validation]()
    with Workers(typed.workers) as workers:
        rules = rule_values(scenario, len(seeds), out, workers)
        for seed in range(typed.seeds):
            for one in raced(Laboratory(scenario, workers, seed), budget, seed, rules, seeds):
                checks.append(one)
                print(told(one), flush=True)
    write_csv(checks, out / f"{scenario.name}.csv")
    if typed.docs:
        print(draw(checks, scenario.name, Path(typed.docs) / "images" / "time-to-win.png"))


def told(one: Validation) -> str:
    """A validation in a line."""
    ahead = f"{one.ahead_usd:+.3f} [{one.low_usd:+.3f}, {one.high_usd:+.3f}] to {one.rule}"
    clocks = f"{one.wall_s:6.1f} s, {one.processor_s:5.1f} s of the processor"
    return f"seed {one.seed} {one.stage:10} {clocks}, {one.episodes:5,} episodes: {one.value_usd:.3f} USD, {ahead}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="default")
    parser.add_argument("--seeds", type=int, default=3, help="learners (default: 3)")
    parser.add_argument("--constants", type=int, default=4, help="generations of constants (default: 4)")
    parser.add_argument("--most", type=int, default=30, help="generations of feedback at most (default: 30)")
    parser.add_argument("--population", type=int, default=12, help="candidates of a generation (default: 12)")
    parser.add_argument("--episodes", type=int, default=4, help="training episodes of a generation (default: 4)")
    parser.add_argument("--every", type=int, default=2, help="generations between two validations (default: 2)")
    parser.add_argument("--validation", type=int, default=48, help="validation episodes (default: 48)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--out", default="runs/time-to-win", help="folder of rules' values and the CSV file")
    parser.add_argument("--docs", metavar="FOLDER", help="draw images/time-to-win.png there")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _run(typed))


if __name__ == "__main__":
    sys.exit(main())
