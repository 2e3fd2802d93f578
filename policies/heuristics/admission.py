"""Admission rules: how much of each class is let in, or released."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tokenfleet.envs.estimates.backlog import (
    BACKLOG_FIELDS,
    admission_rates_rps,
    backlog_seconds,
    class_backlog_seconds,
)
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Admission, Float64Array


class Open(Admission):
    """Everything is let in and released at once."""

    def __init__(self, scenario: Scenario) -> None:
        self._classes = len(scenario.classes)

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        return np.full((len(view.rows), self._classes), np.inf), state


class BacklogGate(Admission):
    """Interactive work is let in until its backlog is hopeless; deferrable work is released while the backlog is short.

    Refusing costs more than answering late, so the rule refuses only requests that would run out of patience in the
    queue: the limit is `patience_share` of the patience of a class. Deferrable work is released up to a backlog of
    `deferred_s`.

    Args:
        scenario: of the fleet.
        patience_share: backlog limit of an interactive class, as a share of its patience.
        deferred_s: backlog limit of deferrable classes [s].
    """

    fields: ClassVar[tuple[str, ...]] = BACKLOG_FIELDS

    def __init__(
        self, scenario: Scenario, patience_share: PositiveFloat = 0.75, deferred_s: NonNegativeFloat = 3.0
    ) -> None:
        self._service = ServiceModel(scenario)
        self._capacity_rps, self._mask = capacity_rps(scenario), scenario.route_mask
        a = self._service.power.arrays
        self._tick_s, self._replicas = a.tick_s, a.replicas.astype(np.float64)
        self._limit_s = backlog_limits_s(scenario, patience_share, deferred_s)

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        met_s = class_backlog_seconds(backlog_seconds(self._service, view), self._mask)
        awake_share = view["awake_replicas"] / self._replicas
        limit_s = np.broadcast_to(self._limit_s, met_s.shape)
        return admission_rates_rps(met_s, limit_s, self._capacity_rps, awake_share, self._tick_s), state


def backlog_limits_s(scenario: Scenario, patience_share: float = 0.75, deferred_s: float = 3.0) -> Float64Array:
    """Backlog up to which each class is let in, `[K]` [s]; see `BacklogGate`."""
    return np.array(
        [deferred_s if cls.deferrable else patience_share * cls.patience_s for cls in scenario.classes.values()]
    )
