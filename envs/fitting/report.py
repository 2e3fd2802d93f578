"""A fit as text: changed numbers, kept ones and why, and the profile's distance from the runs."""

from __future__ import annotations

from collections.abc import Sequence

from tokenfleet.envs.fitting.errors import Array, mean_error, worst_error
from tokenfleet.envs.fitting.fit import Fit, FitOutcome, Result
from tokenfleet.envs.fitting.numbers import NUMBERS
from tokenfleet.envs.fitting.problem import TOLD
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.llm import ProfileSpec
from tokenfleet.envs.spec import counted

FAR = 0.1  # relative error of a fitted run from which on the report names the run


def report(fit: Fit, notes: Sequence[str] = ()) -> str:
    """What a person is shown.

    Args:
        fit: the fit.
        notes: remarks on how the runs were read.
    """
    lines = [
        f"{fit.profile.name}: {counted(len(fit.runs), 'run')}; starts from {origin_of(fit.start)}",
        "",
        *estimate_lines(fit.estimates),
        "",
        f"{'mean and worst error':36} {'runs':>5}   {'start':15} {'fitted':15} left out in turn",
        *map(_result_line, fit.results),
        *[f"{' ' * 4}{line}" for result in fit.results for line in _far_lines(result)],
        *[f"note: {note}" for note in notes],
    ]
    if any(not result.fitted for result in fit.results):
        lines.append("(check) was not fitted: every one of these runs already speaks through its decode step")
    return "\n".join(lines)


def estimate_lines(estimates: Sequence[FitOutcome]) -> list[str]:
    """A table of the numbers, and why some were kept."""
    shown = [estimate for estimate in estimates if estimate.name != "frontend_ms" or estimate.kept == TOLD]
    return [f"{'number':36} {'start':>12} {'fitted':>12}", *map(_estimate_line, shown)]


def origin_of(start: ProfileSpec) -> str:
    """What a fit started from, in words."""
    return "a roofline" if start.origin == "roofline" else f"the catalogue's {start.name}"


def kept_from_start(estimates: Sequence[FitOutcome]) -> list[str]:
    """Names of the profile's numbers that the measurements do not tell."""
    return [NUMBERS[estimate.name].doc for estimate in estimates if estimate.kept and estimate.name != "frontend_ms"]


def fitted_numbers(estimates: Sequence[FitOutcome]) -> list[str]:
    """Names of the profile's numbers that the measurements tell."""
    told = [estimate.name for estimate in estimates if not estimate.kept and estimate.name != "frontend_ms"]
    return [NUMBERS[name].doc for name in told]


def _estimate_line(estimate: FitOutcome) -> str:
    number = NUMBERS[estimate.name]
    start = f"{estimate.start:.4g} {number.unit}".strip()
    value = "kept" if estimate.kept else f"{round(estimate.value, 6):.4g} {number.unit}".strip()
    return f"{number.doc:36} {start:>12} {value:>12}  {estimate.kept}".rstrip()


def _result_line(result: Result) -> str:
    title = result.comparison.title + ("" if result.fitted else " (check)")
    columns = [_two(result.start_errors), _two(result.errors), _two(result.left_out_errors)]
    return f"{title:36} {len(result.runs):5d}   {columns[0]:15} {columns[1]:15} {columns[2]}"


def _two(errors: Array) -> str:
    return f"{mean_error(errors):6.1%} {worst_error(errors):+7.1%}"


def _far_lines(result: Result) -> list[str]:
    """Fitted runs that the profile is far from."""
    if not result.fitted:
        return []
    return [
        f"{result.comparison.title} of {_who(run)}: {error:+.1%}"
        for run, error in zip(result.runs, result.errors.tolist(), strict=True)
        if abs(error) > FAR
    ]


def _who(run: Run) -> str:
    return run.name if run.name in run.place else f"{run.name} ({run.place})"
