"""Fit the numbers of a profile that runs tell, and say how far it is from runs that it has not seen.

A number is *told* when, at the noise that its comparisons are taken to have, least squares would know it, and all the
numbers before it in the order below, to within `Number.told_within`; and when there are more measurements than numbers.
Every other number keeps the start's value. Two pairs cannot be told apart by steps at one clock: host time from the
reading of weights, and time per sequence from its context where all contexts are alike. The first of each pair is
fitted; only where it would fall to 0 does its `SUBSTITUTE` move instead.

Least squares is of relative errors over noise, with a soft loss, so that one odd run does not bend the rest. Watts are
fitted after the times, which they do not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from tokenfleet.envs.layers.llm import Bounds, ProfileSpec, bounds_s
from tokenfleet.envs.measured.compare import (
    BOARD_POWER,
    COMPARISONS,
    DECODE_STEP,
    MEAN_ITERATION,
    TTFT,
    Array,
    Bench,
    Comparison,
)
from tokenfleet.envs.measured.numbers import NUMBERS, Values, moved, rounded, start_values
from tokenfleet.envs.measured.runs import Run
from tokenfleet.envs.spec import SpecError

TIME_NUMBERS = ("host_ms", "decode_us", "context", "compute", "frontend_ms")
POWER_NUMBERS = ("power_factor",)
SUBSTITUTE = {"host_ms": "memory", "decode_us": "context"}
FEWEST_RUNS = 3
SOFT = 2.0  # noises from which on an error counts linearly
STEP = 0.1  # of a slope, as a share of `told_within`
SAME = 1e-6  # ratio of singular values below which two numbers do the same
NOTHING = 0.01  # of a number's unit: at its bound
TOLD = ""
Targets = list[tuple[Comparison, list[Run]]]


@dataclass(frozen=True)
class Estimate:
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
    estimates: list[Estimate]
    results: list[Result]


@dataclass(frozen=True)
class _Solved:
    values: Values
    kept: dict[str, str]


def fit_profile(bench: Bench, start: ProfileSpec, runs: Sequence[Run]) -> Fit:
    """Fit a profile to runs.

    Args:
        bench: what was measured.
        start: the profile to start from.
        runs: checked by `compare.check_runs`.

    Raises:
        SpecError: too few runs, or none that tells a number.
    """
    useful = [run for run in runs if any(members for _, members in _time_targets(bench, [run]))]
    if len(useful) < FEWEST_RUNS:
        speak = "a time between tokens, or a TTFT of one request at a time"
        raise SpecError([f"runs: at least {FEWEST_RUNS} with {speak} are needed (got {len(useful)}); measure more"])
    least = bounds_s(bench.gpu, bench.model, bench.tensor_parallel)
    solved = _solve(bench, start, least, runs)
    if TOLD not in solved.kept.values():
        raise SpecError([f"runs: they tell none of the profile's numbers ({solved.kept['host_ms']}); vary the batch"])
    folds = [_solve(bench, start, least, [*runs[:index], *runs[index + 1 :]]) for index in range(len(runs))]
    profile = rounded(moved(start, least, solved.values), least)
    results = [_result(bench, start, least, runs, comparison, solved, folds) for comparison in COMPARISONS]
    results = [result for result in results if result.runs]
    return Fit(
        bench=bench,
        runs=list(runs),
        start=start,
        profile=profile.model_copy(update={"origin": "measured", "fit_errors": _mean_errors(results)}),
        estimates=[_estimate(name, start, solved) for name in NUMBERS],
        results=results,
    )


def _solve(bench: Bench, start: ProfileSpec, least: Bounds, runs: Sequence[Run]) -> _Solved:
    """Times first, then watts."""
    problem = _Problem(bench, start, least, _time_targets(bench, runs))
    solved = problem.solve(TIME_NUMBERS, start_values(start))
    for name, substitute in SUBSTITUTE.items():
        if solved.kept[name] == TOLD and solved.values[name] < NOTHING and solved.kept.get(substitute) != TOLD:
            solved = _substituted(problem, name, substitute)
    watts = _Problem(bench, start, least, [(BOARD_POWER, _members(BOARD_POWER, bench, runs))])
    powered = watts.solve(POWER_NUMBERS, solved.values)
    return _Solved(powered.values, {**solved.kept, **powered.kept})


def _substituted(problem: _Problem, name: str, substitute: str) -> _Solved:
    """The substitute moves instead of the number; where physics stops it, the number moves the rest of the way."""
    values = start_values(problem.start)
    order = [substitute if other == name else other for other in TIME_NUMBERS if other != substitute]
    instead = problem.solve(order, values)
    if instead.values[substitute] <= NUMBERS[substitute].least(problem.start, problem.least) + NOTHING:
        rest = problem.solve(TIME_NUMBERS, {**values, substitute: instead.values[substitute]})
        return _Solved(rest.values, {**rest.kept, substitute: TOLD})
    return _Solved(
        instead.values, {**instead.kept, name: f"it would fall to 0; {NUMBERS[substitute].doc} moves instead"}
    )


class _Problem:
    """Least squares over some comparisons."""

    def __init__(self, bench: Bench, start: ProfileSpec, least: Bounds, targets: Targets) -> None:
        self.bench, self.start, self.least = bench, start, least
        self.targets = [(comparison, runs) for comparison, runs in targets if runs]
        self.measurements = sum(len(runs) for _, runs in self.targets)

    def solve(self, order: Sequence[str], values: Values) -> _Solved:
        """Move the numbers that are told, in order of preference; keep the others."""
        told, kept = self._told(order, values)
        if not told:
            return _Solved(values, kept)
        lower = np.array([NUMBERS[name].least(self.start, self.least) for name in told])
        upper = np.array([NUMBERS[name].most for name in told])
        inside = np.clip([values[name] for name in told], lower + 1e-9, upper)
        found = least_squares(
            lambda x: self._residuals({**values, **dict(zip(told, x.tolist(), strict=True))}),
            inside,
            bounds=(lower, upper),
            loss="soft_l1",
            f_scale=SOFT,
            x_scale=[NUMBERS[name].told_within for name in told],
        )
        return _Solved({**values, **dict(zip(told, found.x.tolist(), strict=True))}, kept)

    def _told(self, order: Sequence[str], values: Values) -> tuple[list[str], dict[str, str]]:
        told: list[str] = []
        kept = {}
        for name in order:
            kept[name] = self._why_not(told, name, values)
            if kept[name] == TOLD:
                told.append(name)
        return told, kept

    def _why_not(self, told: Sequence[str], name: str, values: Values) -> str:
        alone = self._spread([name], values)[0] if self.targets else np.inf
        if np.isinf(alone):
            return "no run depends on it"
        if alone > NUMBERS[name].told_within:
            return "the runs say too little of it"
        if len(told) + 1 >= self.measurements:
            return f"{self.measurements} measurements are too few for one more number"
        trial = [*told, name]
        spread = self._spread(trial, values)
        if any(error > NUMBERS[other].told_within for other, error in zip(trial, spread, strict=True)):
            apart = " and ".join(NUMBERS[other].doc for other in told)
            return f"the runs do not tell it apart from {apart}"
        return TOLD

    def _spread(self, names: Sequence[str], values: Values) -> list[float]:
        """Standard errors that least squares would have, at the assumed noise; infinite for what has no effect."""
        scale = np.array([NUMBERS[name].told_within for name in names])
        slopes = [
            (self._residuals({**values, name: values[name] + STEP * step}) - self._residuals(values)) / STEP
            for name, step in zip(names, scale.tolist(), strict=True)
        ]
        jacobian = np.column_stack(slopes)
        singular = np.linalg.svd(jacobian, compute_uv=False)
        if len(singular) < len(names) or singular[-1] <= SAME * singular[0]:
            return [np.inf] * len(names)
        return [float(error) for error in np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian))) * scale]

    def _residuals(self, values: Values) -> Array:
        """Relative errors over noise."""
        parts = [
            _errors(comparison, self.bench, self.start, self.least, runs, values) / comparison.noise
            for comparison, runs in self.targets
        ]
        return np.concatenate(parts)


def _errors(
    comparison: Comparison, bench: Bench, start: ProfileSpec, least: Bounds, runs: Sequence[Run], values: Values
) -> Array:
    """Relative errors of runs that say the comparison; what is spent before the engine counts towards TTFT."""
    profile, measured = moved(start, least, values), comparison.values(runs, bench)
    before_s = 1e-3 * values["frontend_ms"] if comparison is TTFT else 0.0
    return (comparison.predicted(profile, bench, runs) + before_s) / measured - 1.0


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
    solved: _Solved,
    folds: Sequence[_Solved],
) -> Result:
    indices = comparison.runs(runs, bench)
    members = [runs[index] for index in indices]
    fitted = comparison is BOARD_POWER or any(
        target is comparison and bool(others) for target, others in _time_targets(bench, runs)
    )

    def errors(values: Values, some: Sequence[Run]) -> Array:
        return _errors(comparison, bench, start, least, some, values) if some else np.empty(0)

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
        found[result.comparison.name] = round(float(np.abs(result.errors).mean()), 4)
        found[f"{result.comparison.name}_left_out"] = round(float(np.abs(result.left_out_errors).mean()), 4)
    return found


def _estimate(name: str, start: ProfileSpec, solved: _Solved) -> Estimate:
    kept = solved.kept.get(name, "steps at one clock do not tell it apart from host_s")
    return Estimate(name, NUMBERS[name].start(start), solved.values[name], kept)
