"""Fit the numbers of a profile that a log of requests tells: the engine serves the same requests, whatever it queues.

Each request says its time per token and its time to the first one. What is fitted to the first half of the log is
judged by the second half; the profile that is kept is fitted to all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.fit import FitOutcome, estimates_of, solve_times
from tokenfleet.envs.fitting.numbers import NUMBERS, Values, profile_with, start_values
from tokenfleet.envs.fitting.problem import TOLD, Problem, Solved
from tokenfleet.envs.fitting.replay import Latencies, Server, per_gap_s
from tokenfleet.envs.fitting.request_log import ServedRequests
from tokenfleet.envs.fitting.rounding import rounded
from tokenfleet.envs.layers.llm import Bounds, ProfileSpec, bounds_s
from tokenfleet.envs.spec import SpecError

TPOT_NOISE, TTFT_NOISE = 0.05, 0.3
"""Relative, of one request (assumptions): whom a first token waits for is decided by milliseconds."""
DIFFERENCE = 0.15
"""Relative step of slopes: by smaller ones, events that change places hide them, and least squares ends far off."""
FITTED_SHARE = 0.5
Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class JudgedLatency:
    """One quantity over some requests: measured mean, and what a profile makes of it.

    Attributes:
        name: key in a profile's `fit_errors`.
        title: what the report calls it.
        measured: mean [s].
        start, fitted: relative errors of the means of the start and of the fit.
        each: mean absolute relative error of the fit, request by request.
    """

    name: str
    title: str
    measured: float
    start: float
    fitted: float
    each: float


@dataclass(frozen=True)
class RequestFit:
    """A profile fitted to a log, and what a fit to its first half makes of the second.

    Attributes:
        start, profile: before and after.
        log: what it was fitted to.
        estimates: what became of each number.
        held_out: the second half, by a fit to the first.
    """

    start: ProfileSpec
    profile: ProfileSpec
    log: ServedRequests
    estimates: list[FitOutcome]
    held_out: list[JudgedLatency]


class _LogProblem(Problem):
    """Least squares over the requests of a log."""

    step = DIFFERENCE

    def __init__(
        self, bench: Bench, start: ProfileSpec, least: Bounds, log: ServedRequests, server: Server, chosen: Chosen
    ) -> None:
        super().__init__(bench, start, least, [])
        self._log, self._server, self._chosen = log, server, chosen
        self.measurements = 2 * int(chosen.sum())

    def _residuals(self, values: Values) -> Array:
        served = serve(self._server, self.start, self.least, values)
        tpot = relative_errors(served.tpot_s, tpot_s(self._log)) / TPOT_NOISE
        ttft = np.log(served.ttft_s / self._log.ttft_s) / TTFT_NOISE
        return np.concatenate([tpot[self._chosen & (self._log.output_tokens > 1)], ttft[self._chosen]])


def fit_requests(
    bench: Bench, start: ProfileSpec, log: ServedRequests, pool: Mapping[str, Any], search_paths: tuple[Any, ...] = ()
) -> RequestFit:
    """Fit a profile to a log.

    Args:
        bench: what was measured.
        start: the profile to start from.
        log: of one replica.
        pool: how the server was set up: keys of a scenario's pool, without its site.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: the log tells no number, or the replica cannot serve it.
    """
    least = bounds_s(bench.gpu, bench.model, bench.parallelism)
    server = Server(pool, log.arrival_s, log.prompt_tokens, log.output_tokens, search_paths)
    everyone = np.ones(len(log), np.bool_)
    first = np.arange(len(log)) < FITTED_SHARE * len(log)
    problems = (_LogProblem(bench, start, least, log, server, chosen) for chosen in (first, everyone))
    half, whole = (solve_times(problem, start_values(start)) for problem in problems)
    if TOLD not in whole.kept.values():
        raise SpecError([f"{log.place}: it tells none of the profile's numbers ({whole.kept['host_ms']})"])
    before = serve(server, start, least, start_values(start))
    after = serve(server, start, least, half.values)
    held_out = judge(log, before, after, ~first)
    profile = rounded(profile_with(start, least, whole.values), least)
    errors = {f"{one.name}_left_out": round(abs(one.fitted), 4) for one in held_out}
    return RequestFit(
        start=start,
        profile=profile.model_copy(update={"origin": "measured", "fit_errors": errors}),
        log=log,
        estimates=estimates_of(start, _without_watts(whole)),
        held_out=held_out,
    )


def serve(server: Server, start: ProfileSpec, least: Bounds, values: Values) -> Latencies:
    """What a profile with its numbers at some values makes of the requests; the front end's time comes on top."""
    served = server.serve(profile_with(start, least, values))
    before_s = 1e-3 * values["frontend_ms"]
    return Latencies(served.arrival_s, served.first_s + before_s, served.last_s + before_s, served.output_tokens)


def tpot_s(log: ServedRequests) -> Array:
    """Mean time between tokens of every request, nan for an answer of one."""
    return per_gap_s(log.e2e_s - log.ttft_s, log.output_tokens)


def judge(log: ServedRequests, before: Latencies, after: Latencies, chosen: Chosen) -> list[JudgedLatency]:
    """Compare two profiles' predictions for some requests with the measured latencies.

    Args:
        log: as measured.
        before: by the start.
        after: by the fit.
        chosen: which requests, `[R]`.
    """
    several = chosen & (log.output_tokens > 1)
    cases = (
        ("tpot", "time per token", tpot_s(log), before.tpot_s, after.tpot_s, several),
        ("e2e", "whole request", log.e2e_s, before.e2e_s, after.e2e_s, chosen),
        ("ttft", "time to first token", log.ttft_s, before.ttft_s, after.ttft_s, chosen),
    )
    found = []
    for name, title, measured, old, new, rows in cases:
        mean_s = float(measured[rows].mean())
        started, fitted = (float(times[rows].mean()) / mean_s - 1.0 for times in (old, new))
        each = float(np.abs(relative_errors(new[rows], measured[rows])).mean())
        found.append(JudgedLatency(name, title, mean_s, started, fitted, each))
    return found


def _without_watts(solved: Solved) -> Solved:
    nothing = "a log of requests says nothing of watts"
    return Solved(solved.values, {**solved.kept, **{name: nothing for name in NUMBERS if name == "power_factor"}})
