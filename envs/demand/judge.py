"""How far draws of a fitted description are from the part of a trace that the fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.demand.counts import autocorrelation, fano_factor
from tokenfleet.envs.demand.fit import check_enough, fit_demand
from tokenfleet.envs.layers.agents.fitted import DemandSpec
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import Trace

FloatArray = NDArray[np.float64]
WINDOWS_S = (1.0, 10.0, 60.0, 600.0, 3600.0)
LAG_WINDOWS_S = (1.0, 10.0, 60.0)
LEVELS = (0.25, 0.5, 0.75, 0.95)
DRAWS = 40
HELD_OUT = 0.4
"""Share of time at the end of a record that judges a fit by default."""
FEWEST_HELD_OUT = 50
FEWEST_WINDOWS = 4
DRAWN_AT_MOST = 5_000_000
"""Requests of all draws together; longer traces are compared with fewer draws, but at least four."""


@dataclass(frozen=True)
class Compared:
    """One quantity of the held-out part.

    Attributes:
        name: what it is.
        recorded: its value.
        drawn: its value in each draw.
        absolute: whether the error is a difference, as of correlations, and not relative.
    """

    name: str
    recorded: float
    drawn: FloatArray
    absolute: bool = False

    @cached_property
    def middle(self) -> float:
        """The median of the draws that have a value."""
        known = self.drawn[np.isfinite(self.drawn)]
        return float(np.median(known)) if len(known) else float("nan")

    @property
    def error(self) -> float:
        """Error of the median draw, relative or, if `absolute`, as a difference; nan where nothing can be compared."""
        difference = self.middle - self.recorded
        if self.absolute:
            return difference
        return difference / self.recorded if self.recorded else float("nan")


@dataclass(frozen=True)
class Judged:
    """A fit to the first part of a trace, compared with the rest."""

    demand: DemandSpec
    fitted_requests: int
    held_out_requests: int
    compared: tuple[Compared, ...]

    def errors(self) -> dict[str, float]:
        """Name -> error where there is one, as a description keeps it."""
        return {one.name: round(one.error, 4) for one in self.compared if np.isfinite(one.error)}


def judge(name: str, trace: Trace, start_s: float | None, share: float, seed: int = 0) -> Judged:
    """Fit a part of a trace and compare draws with the rest.

    Args:
        name: of the description.
        trace: the whole trace.
        start_s: when it begins, since a Monday's midnight [s]; None where nobody knows.
        share: of its time, from its beginning, that is fitted.
        seed: of the draws.

    Raises:
        SpecError: either part has too few requests.
    """
    check_enough(trace)
    span_s = trace.duration_s
    cut_s = share * span_s
    seen, unseen = part_of(trace, 0.0, cut_s), part_of(trace, cut_s, np.nextafter(span_s, np.inf))
    if len(unseen) < FEWEST_HELD_OUT:
        raise SpecError(
            [
                f"--held-out: the last {1.0 - share:.0%} of the time have too few requests to judge a fit, at least "
                f"{FEWEST_HELD_OUT} are needed (got {len(unseen)}); give another share, or 0 for none"
            ]
        )
    demand = fit_demand(name, seen, cut_s, start_s)
    clock_s = (start_s or 0.0) + cut_s
    return Judged(demand, len(seen), len(unseen), compare(demand, unseen, span_s - cut_s, clock_s, seed))


def part_of(trace: Trace, begin_s: float, end_s: float) -> Trace:
    """The requests of some time, times from its beginning."""
    first, last = trace.arrival_s.searchsorted([begin_s, end_s])
    rows = slice(first, last)
    return Trace(trace.name, trace.arrival_s[rows] - begin_s, trace.prompt_tokens[rows], trace.output_tokens[rows])


def compare(demand: DemandSpec, trace: Trace, span_s: float, clock_s: float, seed: int = 0) -> tuple[Compared, ...]:
    """Quantities of a trace beside those of draws of as much time, at the same hours.

    Args:
        demand: the description.
        trace: what was recorded.
        span_s: its length [s].
        clock_s: when it begins, since a Monday's midnight [s].
        seed: of the draws.
    """
    fewest = max(4, min(DRAWS, int(DRAWN_AT_MOST / max(demand.rate_rps * span_s, 1.0))))
    rngs = np.random.default_rng(seed).spawn(fewest)
    arrivals = [demand.sample_arrivals(rng, span_s, clock_s) for rng in rngs]
    found = [_rate(trace, arrivals, span_s)]
    for window_s in [w for w in WINDOWS_S if span_s / w >= FEWEST_WINDOWS]:
        drawn = [fano_factor(arrival_s, window_s, span_s) for arrival_s in arrivals]
        found.append(Compared(f"fano_{window_s:g}_s", fano_factor(trace.arrival_s, window_s, span_s), np.array(drawn)))
    for window_s in [w for w in LAG_WINDOWS_S if span_s / w >= FEWEST_WINDOWS]:
        drawn = [autocorrelation(arrival_s, window_s, span_s) for arrival_s in arrivals]
        recorded = autocorrelation(trace.arrival_s, window_s, span_s)
        found.append(Compared(f"autocorrelation_{window_s:g}_s", recorded, np.array(drawn), absolute=True))
    return (*found, *_lengths(demand, trace, rngs))


def _rate(trace: Trace, arrivals: Sequence[FloatArray], span_s: float) -> Compared:
    return Compared("rate_rps", len(trace) / span_s, np.array([len(arrival_s) / span_s for arrival_s in arrivals]))


def _lengths(demand: DemandSpec, trace: Trace, rngs: Sequence[np.random.Generator]) -> list[Compared]:
    draws = [demand.lengths.sample(rng, min(len(trace), 100_000)) for rng in rngs]
    found = []
    for place, (name, recorded) in enumerate((("prompt", trace.prompt_tokens), ("output", trace.output_tokens))):
        means = np.array([float(draw[place].mean()) for draw in draws])
        found.append(Compared(f"{name}_mean", float(recorded.mean()), means))
        levels = np.array([np.quantile(draw[place], LEVELS) for draw in draws])
        for number, (level, value) in enumerate(zip(LEVELS, np.quantile(recorded, LEVELS).tolist(), strict=True)):
            found.append(Compared(f"{name}_{level:.0%}".replace("%", "_pct"), value, levels[:, number]))
    correlations = np.array([_rank_correlation(*draw) for draw in draws])
    correlation = _rank_correlation(trace.prompt_tokens, trace.output_tokens)
    return [*found, Compared("length_correlation", correlation, correlations, absolute=True)]


def _rank_correlation(prompt: NDArray[np.int32], output: NDArray[np.int32]) -> float:
    """Spearman's, 0 where either does not vary."""
    ranks = [np.unique(tokens, return_inverse=True, return_counts=True) for tokens in (prompt, output)]
    centred = []
    for _, place, count in ranks:
        rank = (np.cumsum(count) - 0.5 * count)[place]
        centred.append(rank - rank.mean())
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0.0 else 0.0
