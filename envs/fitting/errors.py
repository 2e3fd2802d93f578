"""How far predictions are from measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def relative_errors(predicted: Any, measured: Any) -> Array:
    """Signed relative errors, `[M]`.

    >>> relative_errors([1.0, 3.0], [2.0, 2.0]).tolist()
    [-0.5, 0.5]
    """
    return np.asarray(np.asarray(predicted) / np.asarray(measured) - 1.0)


def scaled_errors(shape: Any, measured: Any) -> Array:
    """Signed relative errors of a shape times its best scale, by least squares of relative error, `[M]`.

    >>> scaled_errors([1.0, 2.0], [3.0, 6.0]).tolist()
    [0.0, 0.0]
    """
    ratio = np.asarray(shape) / np.asarray(measured)
    return np.asarray(ratio * ratio.sum() / np.sum(ratio**2) - 1.0)


def mean_error(errors: ArrayLike) -> float:
    """Mean absolute error.

    >>> mean_error([-0.25, 0.75])
    0.5
    """
    return float(np.abs(errors).mean())


def worst_error(errors: ArrayLike) -> float:
    """The error of the largest size, with its sign.

    >>> worst_error([-0.5, 0.25])
    -0.5
    """
    found = np.asarray(errors, dtype=np.float64)
    return float(found[np.abs(found).argmax()])
