"""Least squares of relative error, linear and not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares, lsq_linear

from tokenfleet.envs.fitting.errors import Array


class Solution(NamedTuple):
    """The values found by least squares, `[N]`, and the residuals that they leave, `[M]`."""

    values: Array
    residuals: Array


def minimise(
    residuals: Callable[[Array], Array],
    starts: Sequence[Sequence[float] | Array],
    bounds: tuple[Any, Any] = (-np.inf, np.inf),
    soft: float | None = None,
    step: float | None = None,
    scale: Any = 1.0,
) -> Solution:
    """The best of the minima that are found from several starts.

    Args:
        residuals: of N values, `[M]`.
        starts: `[N]` each.
        bounds: lowest and highest values, numbers or `[N]`.
        soft: residual from which on one counts linearly, so that few odd ones do not bend the rest; none by default.
        step: of a finite difference, relative to the value; SciPy's by default.
        scale: of each value, a number or `[N]`.

    >>> found = minimise(lambda x: x**2 - 4.0, starts=[[1.0], [3.0]])
    >>> found.values.round(6).tolist()
    [2.0]
    """
    loss: dict[str, Any] = {} if soft is None else {"loss": "soft_l1", "f_scale": soft}
    found = [least_squares(residuals, start, bounds=bounds, diff_step=step, x_scale=scale, **loss) for start in starts]
    best = min(found, key=lambda solved: float(solved.cost))
    return Solution(np.asarray(best.x), np.asarray(best.fun))


def factors(columns: Sequence[Any], measured: Any, known: Any = 0.0) -> list[float]:
    """Factors >= 0 of some columns whose sum, with what is known, comes nearest to the measurements.

    Args:
        columns: `[M]` each.
        measured: `[M]`.
        known: what is not fitted, a number or `[M]`.

    >>> [round(factor, 6) for factor in factors([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]], [5.0, 7.0, 9.0], known=1.0)]
    [2.0, 2.0]
    """
    measured = np.asarray(measured, dtype=np.float64)
    relative = np.column_stack(columns) / measured[:, None]
    scale = np.abs(relative).max(axis=0)
    solved = lsq_linear(relative / scale, (measured - np.asarray(known)) / measured, bounds=(0.0, np.inf))
    return [float(factor) for factor in solved.x / scale]


def slope(x: Any, y: Any) -> float:
    """Of the line through the origin, by least squares.

    >>> slope([1.0, 2.0], [3.0, 6.0])
    3.0
    """
    x = np.asarray(x)
    return float((x * np.asarray(y)).sum() / (x * x).sum())
