"""Fit those numbers of a profile that runs tell, and say how far it is from unseen runs.

Every number that the runs do not tell (`problem`) keeps the start's value. Two pairs cannot be told apart by steps at
one clock: host time from the reading of weights, and time per sequence from its context where all contexts are alike.
The first of each pair is fitted; only where it would fall to 0 does its `SUBSTITUTE` move instead. Watts are fitted
after the times, which they do not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.compare import BOARD_POWER, COMPARISONS, DECODE_STEP, MEAN_ITERATION, TTFT, Comparison
from tokenfleet.envs.fitting.errors import Array, mean_error
from tokenfleet.envs.fitting.numbers import NUMBERS, Values, profile_with, start_values
from tokenfleet.envs.fitting.problem import TOLD, Problem, Solved, Targets, errors_of
from tokenfleet.envs.fitting.rounding import rounded
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.llm import Bounds, ProfileSpec, bounds_s
from tokenfleet.envs.spec import SpecError

TIME_NUMBERS = ("host_ms", "decode_us", "context", "compute", "frontend_ms")
POWER_NUMBERS = ("power_factor",)
SUBSTITUTE = {"host_ms": "memory", "decode_us": "context"}
FEWEST_RUNS = 3
ROUNDS = 3  # of times and watts
SETTLED = 1e-4  # relative change of watts from which on no further round is needed
NOTHING = 0.01  # of a number's unit: at its bound


@dataclass(frozen=True)
class FitOutcome:
    """What became of a number: its start and its value, and why it was kept, empty where it was told."""

    name: str
    start: float
    value: float
    kept: str


@dataclass(frozen=True)
class Result:
    """One comparison: the runs that say it, and signed relative errors of the start, the fit, and runs left out."""

    comparison: Comparison
    runs: list[Run]
    fitted: bool
    start_errors: Array
    errors: Array
    left_out_errors: Array


@dataclass(frozen=True)
class Fit:
    """A fitted profile; its `fit_errors` hold mean absolute errors, and those with each run left out in turn."""

    bench: Bench
    runs: list[Run]
    start: ProfileSpec
    profile: ProfileSpec
    estimates: list[FitOutcome]
    results: list[Result]


def fit_profile(bench: Bench, start: ProfileSpec, runs: Sequence[Run]) -> Fit:
    """Fit a profile to runs.

    Args:
        bench: what was measured.
        start: the profile to start from.
        runs: checked by `checks.check_runs`.

    Raises:
        SpecError: too few runs, or none that tells a number.
    """
    useful = [run for run in runs if any(members for _, members in _time_targets(bench, [run]))]
    if len(useful) < FEWEST_RUNS:
        speak = "a time between tokens, or a TTFT of one request at a time"
        raise SpecError([f"runs: at least {FEWEST_RUNS} with {speak} are needed (got {len(useful)}); measure more"])
    least = bounds_s(bench.gpu, bench.model, bench.parallelism)
    solved = _solve(bench, start, least, runs)
    if TOLD not in solved.kept.values():
        raise SpecError([f"runs: they tell none of the profile's numbers ({solved.kept['host_ms']}); vary the batch"])
    folds = [_solve(bench, start, least, [*runs[:index], *runs[index + 1 :]]) for index in range(len(runs))]
    profile = rounded(profile_with(start, least, solved.values), least)
    results = [_result(bench, start, least, runs, comparison, solved, folds) for comparison in COMPARISONS]
    results = [result for result in results if result.runs]
    return Fit(
        bench=bench,
        runs=list(runs),
        start=start,
        profile=profile.model_copy(update={"origin": "measured", "fit_errors": _mean_errors(results)}),
        estimates=estimates_of(start, solved),
        results=results,
    )


def _solve(bench: Bench, start: ProfileSpec, least: Bounds, runs: Sequence[Run]) -> Solved:
    """Times first, then watts; again where these change how far boards at their limit slow down."""
    problem = Problem(bench, start, least, _time_targets(bench, runs))
    watts = Problem(bench, start, least, [(BOARD_POWER, _members(BOARD_POWER, bench, runs))])
    values: Values = start_values(start)
    for _ in range(ROUNDS):
        solved = solve_times(problem, {**start_values(start), **{name: values[name] for name in POWER_NUMBERS}})
        powered = watts.solve(POWER_NUMBERS, solved.values)
        settled = all(abs(powered.values[name] / values[name] - 1.0) < SETTLED for name in POWER_NUMBERS)
        values = powered.values
        if settled:
            break
    return Solved(values, {**solved.kept, **powered.kept})


def solve_times(problem: Problem, values: Values) -> Solved:
    """The numbers that move times, from `values`; a number that would fall to 0 gives way to its substitute."""
    solved = problem.solve(TIME_NUMBERS, values)
    for name, substitute in SUBSTITUTE.items():
        if solved.kept[name] == TOLD and solved.values[name] < NOTHING and solved.kept.get(substitute) != TOLD:
            solved = _substituted(problem, values, name, substitute)
    return solved


def _substituted(problem: Problem, values: Values, name: str, substitute: str) -> Solved:
    """The substitute moves instead of the number; where physics stops it, the number moves the rest of the way."""
    order = [substitute if other == name else other for other in TIME_NUMBERS if other != substitute]
    instead = problem.solve(order, values)
    if instead.values[substitute] <= NUMBERS[substitute].least(problem.start, problem.least) + NOTHING:
        rest = problem.solve(TIME_NUMBERS, {**values, substitute: instead.values[substitute]})
        return Solved(rest.values, {**rest.kept, substitute: TOLD})
    return Solved(
        instead.values, {**instead.kept, name: f"it would fall to 0; {NUMBERS[substitute].doc} moves instead"}
    )


def _time_targets(bench: Bench, runs: Sequence[Run]) -> Targets:
    """Each run's step once: its median where that is an iteration without prompts, else its mean; and its TTFT."""
    steps = _members(DECODE_STEP, bench, runs)
    others = [run for run in runs if run not in steps]
    return [
        (DECODE_STEP, steps),
        (MEAN_ITERATION, _members(MEAN_ITERATION, bench, others)),
        (TTFT, _members(TTFT, bench, runs)),
    ]


def _members(comparison: Comparison, bench: Bench, runs: Sequence[Run]) -> list[Run]:
    return [runs[index] for index in comparison.runs(runs, bench)]


def _result(
    bench: Bench,
    start: ProfileSpec,
    least: Bounds,
    runs: Sequence[Run],
    comparison: Comparison,
    solved: Solved,
    folds: Sequence[Solved],
) -> Result:
    indices = comparison.runs(runs, bench)
    members = [runs[index] for index in indices]
    fitted = comparison is BOARD_POWER or any(
        target is comparison and bool(others) for target, others in _time_targets(bench, runs)
    )

    def errors(values: Values, some: Sequence[Run]) -> Array:
        return errors_of(comparison, bench, start, least, some, values) if some else np.empty(0)

    left_out = [errors(folds[index].values, [runs[index]]) for index in indices]
    return Result(
        comparison=comparison,
        runs=members,
        fitted=fitted,
        start_errors=errors(start_values(start), members),
        errors=errors(solved.values, members),
        left_out_errors=np.concatenate(left_out) if left_out else np.empty(0),
    )


def _mean_errors(results: Sequence[Result]) -> dict[str, float]:
    found = {}
    for result in results:
        found[result.comparison.name] = round(mean_error(result.errors), 4)
        found[f"{result.comparison.name}_left_out"] = round(mean_error(result.left_out_errors), 4)
    return found


def estimates_of(start: ProfileSpec, solved: Solved) -> list[FitOutcome]:
    """What became of every number."""
    return [_estimate(name, start, solved) for name in NUMBERS]


def _estimate(name: str, start: ProfileSpec, solved: Solved) -> FitOutcome:
    kept = solved.kept.get(name, "steps at one clock do not tell it apart from host_s")
    return FitOutcome(name, NUMBERS[name].start(start), solved.values[name], kept)
