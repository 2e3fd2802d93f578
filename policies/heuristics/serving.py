"""Rules of which model replicas serve: their own, or the variant."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.fields import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFraction, UnitFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import BoolArray, Float64Array, Serving


class OwnModel(Serving):
    """Every replica serves its own model."""

    def __init__(self, scenario: Scenario) -> None:
        self._pools = len(scenario.pools)

    def variant_share(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Serving.variant_share`."""
        return np.zeros((len(view.rows), self._pools)), state


class VariantForCaps(Serving):
    """Pools serve their variants while the caps of their sites are low, or are about to be.

    A cap is low below `below` of the contract. One that is announced counts `ahead_s` before it holds: that is for the
    time that loading takes. Replicas change in waves, at most `wave` of a pool at once, so that the rest goes on
    serving: no further ones drain before those that load are awake again.

    Args:
        scenario: of the fleet.
        below: share of the contract below which a cap is low.
        ahead_s: how long before an announced cap replicas begin to change [s].
        wave: share of a pool that changes at a time.
    """

    fields = ("cap_w", "announced_cap_w", "variant_replicas", "switching_replicas", "waking_replicas")

    def __init__(
        self,
        scenario: Scenario,
        below: PositiveFraction = 0.8,
        ahead_s: NonNegativeFloat = 300.0,
        wave: UnitFraction = 0.5,
    ) -> None:
        names, sites, pools = list(scenario.pools), list(scenario.sites), list(scenario.pools.values())
        self._pools, self._has = len(pools), [names.index(name) for name in scenario.variants]
        self._site = np.array([sites.index(pools[p].site) for p in self._has], np.intp)
        replicas = np.array([pools[p].replicas for p in self._has], np.float64)
        self._step = np.maximum(np.floor(wave * replicas), 1.0) / replicas
        self._low_w = below * np.array([scenario.contract_w(site) for site in sites])
        self._leads = np.flatnonzero(np.array(scenario.announced_lead_s) <= ahead_s)

    def initial_state(self, num_envs: int) -> State:
        """Shares that are asked for, `[N, v]`."""
        return (np.zeros((num_envs, len(self._has))),)

    def variant_share(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Serving.variant_share`."""
        (asked,) = state
        wanted = self._is_low(view)[:, self._site].astype(np.float64)
        changing = np.rint(view["switching_replicas"] + view["waking_replicas"][:, self._has]) > 0.0
        moved = asked + np.clip(wanted - asked, -self._step, self._step)
        asked = np.where(changing, asked, moved)
        share = np.zeros((len(view.rows), self._pools))
        share[:, self._has] = asked
        return share, (asked,)

    def _is_low(self, view: Record) -> BoolArray:
        """Which sites have a low cap now or before long, `[N, S]`."""
        coming_w = view["announced_cap_w"][:, :, self._leads].min(axis=2, initial=np.inf)
        low: BoolArray = np.minimum(view["cap_w"], coming_w) < self._low_w
        return low
