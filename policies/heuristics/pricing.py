"""Pricing rules: the price of a token, as a factor on its list price."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.backlog import BACKLOG_FIELDS, backlog_seconds, class_backlog_seconds
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Float64Array, Pricing


class ListPrice(Pricing):
    """The list price."""

    def __init__(self, scenario: Scenario) -> None:
        self._classes = len(scenario.classes)

    def factors(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Pricing.factors`."""
        return np.ones((len(view.rows), self._classes)), state


class ByDemand(Pricing):
    """Dear while work waits: the price rises in a straight line with the backlog, from `quiet` to the highest factor.

    Args:
        scenario: of the fleet.
        quiet: factor where nothing waits.
        full_s: backlog at which a class costs its highest factor [s].
    """

    fields = BACKLOG_FIELDS

    def __init__(self, scenario: Scenario, quiet: PositiveFloat = 1.0, full_s: PositiveFloat = 20.0) -> None:
        self._service, self._mask = ServiceModel(scenario), scenario.route_mask
        ranges = [cls.token_price_factor for cls in scenario.classes.values()]
        self._low, self._high = np.array([r.low for r in ranges]), np.array([r.high for r in ranges])
        self._quiet = np.clip(quiet, self._low, self._high)
        self._full_s = full_s

    def factors(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Pricing.factors`."""
        met_s = class_backlog_seconds(backlog_seconds(self._service, view), self._mask)
        share = np.clip(met_s / self._full_s, 0.0, 1.0)
        return self._quiet + (self._high - self._quiet) * share, state
