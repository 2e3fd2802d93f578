"""Least squares over some runs: which numbers of a profile the runs tell, and their values.

A number is *told* when least squares would know it, and all the numbers before it in order, to within
`FittedNumber.told_within` at the assumed noise of their comparisons. Besides, there must be more measurements than
numbers.

Least squares is of relative errors over noise, with a soft loss, so that one odd run does not bend the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.compare import TTFT, Comparison
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.fitting.numbers import NUMBERS, Values, profile_with
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.llm import Bounds, ProfileSpec

SOFT = 2.0  # noises from which on an error counts linearly
STEP = 0.1  # of a slope, as a share of `told_within`
SAME = 1e-6  # ratio of singular values below which two numbers do the same
TOLD = ""
Targets = list[tuple[Comparison, list[Run]]]


@dataclass(frozen=True)
class Solved:
    """The value of every number, and why a number was kept, `TOLD` where it was not."""

    values: Values
    kept: dict[str, str]


class Problem:
    """Least squares over some comparisons.

    Attributes:
        step: of a finite difference, relative to the value; SciPy's by default.
        measurements: how many there are.
    """

    step: float | None = None

    def __init__(self, bench: Bench, start: ProfileSpec, least: Bounds, targets: Targets) -> None:
        self.bench, self.start, self.least = bench, start, least
        self.targets = [(comparison, runs) for comparison, runs in targets if runs]
        self.measurements = sum(len(runs) for _, runs in self.targets)

    def solve(self, order: Sequence[str], values: Values) -> Solved:
        """Move the numbers that are told, in order of preference; keep the others."""
        told, kept = self._told(order, values)
        if not told:
            return Solved(values, kept)
        lower = np.array([NUMBERS[name].least(self.start, self.least) for name in told])
        upper = np.array([NUMBERS[name].most for name in told])
        inside = np.clip([values[name] for name in told], lower + 1e-9, upper)
        found = minimise(
            lambda x: self._residuals({**values, **dict(zip(told, x.tolist(), strict=True))}),
            [inside],
            bounds=(lower, upper),
            soft=SOFT,
            step=self.step,
            scale=[NUMBERS[name].told_within for name in told],
        )
        return Solved({**values, **dict(zip(told, found.values.tolist(), strict=True))}, kept)

    def _told(self, order: Sequence[str], values: Values) -> tuple[list[str], dict[str, str]]:
        told: list[str] = []
        kept = {}
        for name in order:
            kept[name] = self._why_not(told, name, values)
            if kept[name] == TOLD:
                told.append(name)
        return told, kept

    def _why_not(self, told: Sequence[str], name: str, values: Values) -> str:
        alone = self._spread([name], values)[0] if self.measurements else np.inf
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
            errors_of(comparison, self.bench, self.start, self.least, runs, values) / comparison.noise
            for comparison, runs in self.targets
        ]
        return np.concatenate(parts)


def errors_of(
    comparison: Comparison, bench: Bench, start: ProfileSpec, least: Bounds, runs: Sequence[Run], values: Values
) -> Array:
    """Signed relative errors of runs that say the comparison; what is spent before the engine counts towards TTFT."""
    profile, measured = profile_with(start, least, values), comparison.values(runs, bench)
    before_s = 1e-3 * values["frontend_ms"] if comparison is TTFT else 0.0
    return relative_errors(comparison.predicted(profile, bench, runs) + before_s, measured)
