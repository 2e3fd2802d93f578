"""T, the time of an iteration without attention, at the knots of a profile."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.least_squares import factors
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.llm.iteration import at_tokens


def fit_knots(tokens: Array, time_s: Array) -> Array:
    """T at `TOKEN_KNOTS`, never falling: least squares of relative error over all measured sizes, in proportion beyond.

    >>> fit_knots(np.arange(1.0, 65.0), 1e-3 * np.arange(1.0, 65.0)).round(6)[:4].tolist()
    [0.001, 0.002, 0.004, 0.008]
    """
    count = sum(knot <= tokens.max() for knot in TOKEN_KNOTS)
    basis = at_tokens(np.eye(len(TOKEN_KNOTS))[:, None, :], tokens)[:count]
    return extended(np.array(factors(list(basis), time_s)))


def extended(knots_s: Array) -> Array:
    """All knots from the first of them: beyond the last, time grows in proportion; nowhere does it fall.

    >>> extended(np.arange(1.0, 15.0)).tolist()[-2:]
    [14.0, 28.0]
    """
    rest = np.array(TOKEN_KNOTS[len(knots_s) :]) / TOKEN_KNOTS[len(knots_s) - 1]
    return never_falling(np.concatenate([knots_s, knots_s[-1] * rest]))


def never_falling(token_s: Any, least_s: Any = 0.0) -> Array:
    """T at the knots, nowhere below its physical bound and nowhere below an earlier knot.

    >>> never_falling([2.0, 1.0, 3.0], [1.0, 1.0, 4.0]).tolist()
    [2.0, 2.0, 4.0]
    """
    return np.asarray(np.maximum.accumulate(np.maximum(token_s, least_s)))
