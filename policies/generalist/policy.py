"""A supervisor for any fleet, with weights that all entities of a kind share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.generalist.entities import Entities, Shown
from tokenfleet.policies.generalist.law import Place, entries_of
from tokenfleet.policies.generalist.neighbours import Neighbours
from tokenfleet.policies.generalist.weights import load_weights
from tokenfleet.policies.heuristics.state_feedback import StateFeedback


class Generalist(StateFeedback):
    """Set-points by one set of weights for every fleet, whatever its sites, pools and classes; see `law`.

    See `StateFeedback` for where and when it acts.

    Args:
        context: the environment.
        weights: the name of shipped weights, or the path of a safetensors file.
        constants: set-points that the weights move from, as parameters of `Supervisor`, and `decide_every`.

    Raises:
        SpecError: no such weights, or weights for other features; also as `StateFeedback` does.
    """

    def __init__(self, context: PolicyContext, *, weights: str = "generalist", **constants: Any) -> None:
        super().__init__(context, **constants)
        table = tuple(self._box.table)
        base = self._box.encode(self.setpoints)[0].astype(np.float64)
        self._place = Place.of_table(base, Neighbours.of_entries(self.scenario, table), table)
        self._weights = load_weights(weights, f"policy.{self.name}.weights")

    def make_reader(self) -> Entities:
        """See `StateFeedback.make_reader`."""
        return Entities(self.scenario)

    def entries_for(self, features: Shown) -> NDArray[np.float32]:
        """See `StateFeedback.entries_for`."""
        return entries_of(self._weights, self._place, features)
