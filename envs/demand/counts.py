"""Requests counted in windows: how bursty a record is, and how long its bursts last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SAME_TIME_SHARE = 0.5
"""A clock is coarse if at least this share of requests has the time of the request before."""
SAME_TIME_S = 0.01
OFF_THE_CLOCK = 0.01
"""How far a time may be off a coarse clock, in steps of this clock."""


def counts(arrival_s: FloatArray, window_s: float, span_s: float) -> FloatArray:
    """Requests in each whole window of a record, `[W]`.

    >>> counts(np.array([0.0, 0.5, 2.5, 4.5]), 2.0, 5.0).tolist()
    [2.0, 1.0]
    """
    windows = int(span_s / window_s + 1e-9)
    inside = arrival_s[arrival_s < windows * window_s]
    return np.bincount((inside // window_s).astype(int), minlength=windows)[:windows].astype(np.float64)


def fano_factor(arrival_s: FloatArray, window_s: float, span_s: float) -> float:
    """Variance over mean of the counts in whole windows; 1 for a Poisson process, nan without requests or windows."""
    found = counts(arrival_s, window_s, span_s)
    return float(found.var(ddof=1) / found.mean()) if found.sum() > 0 and len(found) > 1 else float("nan")


def autocorrelation(arrival_s: FloatArray, window_s: float, span_s: float) -> float:
    """Correlation of the counts of two neighbouring windows, 0 where counts do not differ."""
    found = counts(arrival_s, window_s, span_s)
    before, after = found[:-1] - found[:-1].mean(), found[1:] - found[1:].mean()
    scale = float(np.sqrt((before**2).sum() * (after**2).sum()))
    return float((before * after).sum() / scale) if scale > 0.0 else 0.0


def clock_step_s(arrival_s: FloatArray) -> float:
    """Step of a record's clock where that is coarse, else 0 [s].

    >>> clock_step_s(np.repeat(np.arange(40) * 3.0, 5)), clock_step_s(np.linspace(0.0, 9.0, 50) ** 2)
    (3.0, 0.0)
    """
    gaps_s = np.diff(arrival_s)
    moved_s = gaps_s[gaps_s > SAME_TIME_S]
    if not len(moved_s) or 1.0 - len(moved_s) / len(gaps_s) < SAME_TIME_SHARE:
        return 0.0
    step_s = float(np.median(moved_s))
    ticks = arrival_s / step_s
    return step_s if float(np.abs(ticks - np.rint(ticks)).max()) < OFF_THE_CLOCK else 0.0


def spread_over_clock(arrival_s: FloatArray, seed: int = 0) -> FloatArray:
    """Times as on a fine clock, ascending from 0, `[R]` [s]: those of a coarse clock spread over its steps."""
    step_s = clock_step_s(arrival_s)
    if step_s == 0.0:
        return arrival_s
    spread_s = arrival_s + step_s * np.random.default_rng(seed).random(len(arrival_s))
    return np.asarray(np.sort(spread_s) - spread_s.min())
