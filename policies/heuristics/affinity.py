"""Affinity rules: how much a call is drawn to the replica that holds its conversation."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat
from tokenfleet.policies.heuristics.parts import Affinity, Float64Array


class FixedAffinity(Affinity):
    """One number for all classes.

    Args:
        scenario: of the fleet.
        tokens_per_token: extra tokens of queue that a call accepts for each cached token; None: it always returns.
    """

    def __init__(self, scenario: Scenario, tokens_per_token: NonNegativeFloat | None = 1.0) -> None:
        self._classes, self._value = len(scenario.classes), np.inf if tokens_per_token is None else tokens_per_token

    def affinity(self, view: Record) -> Float64Array:
        """See `Affinity.affinity`."""
        return np.full((len(view.rows), self._classes), self._value)
