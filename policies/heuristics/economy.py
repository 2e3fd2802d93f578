"""Rules that weigh the value of work against the price of its energy now."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.admission import BacklogGate
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import SteadyPools


class WorthClock(Clocking):
    """The clock at which a pool earns most for its energy: the highest `worth value(F) - price W(F)`.

    Value and watts are those of a loaded replica in the steady state. Requests that never wait are served at any clock,
    so speed earns only a part of the value: `worth` says how much. The rule ignores caps; the rule `lowest` of `worth`
    and `feedback` follows them.

    Args:
        scenario: of the fleet.
        worth: share of the value that speed earns.
    """

    fields = ("price_usd_per_mwh",)

    def __init__(self, scenario: Scenario, worth: PositiveFloat = 0.15) -> None:
        self._pools = SteadyPools(scenario)
        self._site = self._pools.service.power.arrays.site
        earned, self._drawn, _ = self._pools.earned_and_drawn()
        self._earned = worth * earned

    def clocks_at(self, price_usd_per_mwh: Float64Array) -> Float64Array:
        """Clocks `[N, P]` at prices of energy `[N, S]` [USD/MWh]."""
        price = price_usd_per_mwh[:, self._site] / 3.6e9
        net = self._earned - price[:, None, :] * self._drawn
        clocks: Float64Array = self._pools.pool_clocks[net.argmax(axis=1), np.arange(len(self._site))]
        return clocks

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        return self.clocks_at(view["price_usd_per_mwh"].astype(np.float64)), state


class WorthGate(BacklogGate):
    """A `BacklogGate` that also refuses, or holds, requests with energy dearer than their price.

    A class is let in while its list price and the penalty of refusing are worth more than its energy. The energy is
    that of the cheapest awake pool, at the clock that takes least. Deferrable work waits while the forecast has a price
    lower by more than `near`; meanwhile it is released at the rate that works off what is held in half of its deadline.

    Args:
        scenario: of the fleet.
        patience_share: see `BacklogGate`.
        deferred_s: likewise [s].
        near: share of a price within which another counts as the same.
    """

    fields: ClassVar[tuple[str, ...]] = (
        *BacklogGate.fields,
        "price_usd_per_mwh",
        "price_forecast_usd_per_mwh",
        "held_requests",
    )

    def __init__(
        self,
        scenario: Scenario,
        patience_share: PositiveFloat = 0.75,
        deferred_s: PositiveFloat = 3.0,
        near: PositiveFloat = 0.1,
    ) -> None:
        super().__init__(scenario, patience_share, deferred_s)
        pools = SteadyPools(scenario)
        self._site = pools.service.power.arrays.site
        per_joule = pools.service.at(pools.pool_clocks).requests_per_joule.max(axis=0)
        self._joules = np.where(per_joule > 0.0, 1.0 / np.maximum(per_joule, 1e-300), np.inf)
        classes = list(scenario.classes.values())
        penalty = np.array([cls.lost_penalty_fraction for cls in classes])
        self._is_deferrable = np.array([cls.deferrable for cls in classes])
        self._value_usd = pools.request_usd * (1.0 + np.where(self._is_deferrable, 0.0, penalty))
        self._deadline_s = np.array([cls.deadline_s or cls.patience_s for cls in classes])
        self._near = near

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        rates, state = super().rates_rps(view, state)
        price = view["price_usd_per_mwh"].astype(np.float64)
        awake = view["awake_replicas"][:, None, :] > 0.5
        cost_usd = np.where(awake, price[:, self._site][:, None, :] / 3.6e9 * self._joules, np.inf).min(axis=2)
        cheapest = np.minimum(price.min(axis=1), view["price_forecast_usd_per_mwh"].min(axis=(1, 2), initial=np.inf))
        waits = price.min(axis=1) > (1.0 + self._near) * np.maximum(cheapest, 1.0)
        held_rps = view["held_requests"] / (0.5 * self._deadline_s)
        shut = (cost_usd > self._value_usd) | (self._is_deferrable & waits[:, None])
        return np.where(
            shut, np.where(self._is_deferrable & (cost_usd <= self._value_usd), held_rps, 0.0), rates
        ), state
