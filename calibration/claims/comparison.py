"""What a claim is: measured beside predicted values, what judged them, and how near they are meant to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tokenfleet.envs.fitting.errors import Array, mean_error, relative_errors


@dataclass(frozen=True)
class Comparison:
    """Measured against predicted, element by element.

    Attributes:
        measured, predicted: `[M]`, in one unit.
        group: what each element belongs to, `[M]`.
    """

    measured: Array
    predicted: Array
    group: tuple[str, ...]

    @property
    def signed_errors(self) -> Array:
        """Relative errors."""
        return relative_errors(self.predicted, self.measured)

    @property
    def errors(self) -> Array:
        """Absolute relative errors."""
        return np.abs(self.signed_errors)

    @property
    def mean_error(self) -> float:
        """Mean absolute relative error."""
        return mean_error(self.errors)


@dataclass(frozen=True)
class Claim:
    """A comparison that the model is held to.

    Attributes:
        name: what is compared.
        compare: makes the comparison.
        target: largest mean error that is aimed at; None where none is.
        of_each: whether the target holds for every single value, not only for the mean.
        judged_by: what was fitted on what, and which measurements judge it; the first line of `compare`'s docstring by
            default.
    """

    name: str
    compare: Callable[[], Comparison]
    target: float | None = None
    of_each: bool = False
    judged_by: str = ""

    @property
    def judged(self) -> str:
        """What was fitted on what, and which measurements judge it."""
        compared = self.compare.func if isinstance(self.compare, partial) else self.compare
        return self.judged_by or (compared.__doc__ or "").split("\n")[0].strip().rstrip(".")

    def holds(self, found: Comparison) -> bool:
        """Whether a comparison is within the target."""
        error = found.errors.max() if self.of_each else found.mean_error
        return self.target is None or bool(error <= self.target)
