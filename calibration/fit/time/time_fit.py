"""What every fit of times has in common: its result, host and per-sequence time, and the error of whole prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import factors
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.llm.coefficients import TimeCoefficients
from tokenfleet.envs.layers.llm.iteration import prefill_pairs


@dataclass(frozen=True, kw_only=True)
class TimeFit(TimeCoefficients):
    """The coefficients of a profile [s], and signed relative errors by name of the comparison."""

    mixed_context_s: float = 0.0
    token_memory_share: list[float]
    errors: dict[str, list[float]]

    def coefficients(self) -> dict[str, Any]:
        """By their names in a profile."""
        return {name: value for name, value in asdict(self).items() if name != "errors"}


def fit_host_and_sequence(batch: Array, known_s: Array, step_s: Array) -> tuple[float, float]:
    """host_s and decode_s by least squares of relative error over decode steps, all else of a step being known.

    >>> [round(value, 6) for value in fit_host_and_sequence(np.array([1.0, 2.0]), np.zeros(2), np.array([5.0, 7.0]))]
    [3.0, 2.0]
    """
    host_s, decode_s = factors([np.ones_like(batch), batch], step_s, known_s)
    return host_s, decode_s


def prompt_errors(token_s: Array, pair_s: float, wanted_s: Mapping[int, float]) -> list[float]:
    """Signed relative errors of whole prompts.

    Args:
        token_s: T at the knots [s].
        pair_s: for each (query, key) pair [s].
        wanted_s: tokens of a prompt, a knot -> what its kernels take together [s].
    """
    at_knot = dict(zip(TOKEN_KNOTS, token_s.tolist(), strict=True))
    found_s = [at_knot[tokens] + pair_s * prefill_pairs(tokens) for tokens in wanted_s]
    errors: list[float] = relative_errors(found_s, list(wanted_s.values())).tolist()
    return errors
