"""A description of demand out of a trace: hours, cascade, lengths."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.demand.cascade_fit import Counted, Expected, fit_cascade
from tokenfleet.envs.demand.counts import spread_over_clock
from tokenfleet.envs.demand.hours import fit_hours
from tokenfleet.envs.demand.lengths_fit import fit_lengths
from tokenfleet.envs.layers.agents.fitted import PROFILE_STEP_S, DemandSpec
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import Trace

FEWEST_REQUESTS = 100


def fit_demand(name: str, trace: Trace, span_s: float, start_s: float | None = None) -> DemandSpec:
    """Fit a description to a trace.

    Args:
        name: of the description.
        trace: requests, times from the record's start.
        span_s: length of the record [s].
        start_s: when it begins, since a Monday's midnight [s]; None where nobody knows.

    Raises:
        SpecError: it has too few requests.
    """
    check_enough(trace)
    hours = fit_hours(trace.arrival_s, span_s, start_s)
    lengths = fit_lengths(trace.prompt_tokens, trace.output_tokens)
    level = DemandSpec(name=name, rate_rps=len(trace) / span_s, lengths=lengths, **hours.spec())
    shape = expected_requests(level, span_s, start_s)
    scale = len(trace) / float(shape.requests[-1])
    counted = Counted.of(trace.arrival_s, span_s, Expected(shape.time_s, scale * shape.requests))
    rate_rps = float(f"{scale * level.rate_rps:.4g}")
    cascade = fit_cascade(trace.arrival_s, counted)
    return level.model_copy(update={"rate_rps": rate_rps, "cascade": cascade})


def on_a_fine_clock(trace: Trace) -> Trace:
    """A trace whose times, if its clock is coarse, are spread over the steps of the clock."""
    return Trace(trace.name, spread_over_clock(trace.arrival_s), trace.prompt_tokens, trace.output_tokens)


def check_enough(trace: Trace) -> None:
    """Refuse a trace that is too short to be fitted.

    Raises:
        SpecError: it has too few requests.
    """
    if len(trace) < FEWEST_REQUESTS:
        raise SpecError([f"{trace.name}: too few requests to fit, at least {FEWEST_REQUESTS} (got {len(trace)})"])


def expected_requests(demand: DemandSpec, span_s: float, start_s: float | None) -> Expected:
    """Requests up to each step of the profile by its mean rates.

    Args:
        demand: the hours and the rate.
        span_s: length [s].
        start_s: since a Monday's midnight [s]; midnight where nobody knows.
    """
    edges_s = np.append(np.arange(0.0, span_s, PROFILE_STEP_S), span_s)
    middle_s = 0.5 * (edges_s[1:] + edges_s[:-1])
    rate = demand.rate_rps * demand.hourly((start_s or 0.0) + middle_s)
    return Expected(edges_s, np.concatenate([[0.0], np.cumsum(rate * np.diff(edges_s))]))
