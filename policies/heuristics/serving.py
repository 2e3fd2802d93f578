"""Serving rules: whether replicas serve their own model or its variant."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFraction, UnitFraction
from tokenfleet.envs.supervision.laws import ModelWaves
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

    A cap is low below `below` of the contract. An announced cap counts from `ahead_s` before it holds, because loading
    takes time. Replicas change in waves (`supervision.laws.ModelWaves`).

    Args:
        scenario: of the fleet.
        below: share of the contract below which a cap is low.
        ahead_s: how long before an announced cap replicas begin to change [s].
        wave: share of a pool that changes at a time.
    """

    fields = (*ModelWaves.fields, "cap_w", "announced_cap_w")

    def __init__(
        self,
        scenario: Scenario,
        below: PositiveFraction = 0.8,
        ahead_s: NonNegativeFloat = 300.0,
        wave: UnitFraction = 0.25,
    ) -> None:
        sites, self._waves, self._pools = list(scenario.sites), ModelWaves(scenario, wave), len(scenario.pools)
        self._site = np.array([sites.index(scenario.pools[name].site) for name in scenario.variants], np.intp)
        self._low_w = below * np.array([scenario.contract_w(site) for site in sites])
        self._leads = np.flatnonzero(np.array(scenario.announced_lead_s) <= ahead_s)

    def initial_state(self, num_envs: int) -> State:
        """Requested shares of replicas that serve the variant, `[N, v]`."""
        return (self._waves.initial(num_envs),)

    def variant_share(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Serving.variant_share`."""
        wanted = self._is_low(view)[:, self._site].astype(np.float64)
        asked = self._waves.step(state[0], wanted, view)
        share = np.zeros((len(view.rows), self._pools))
        share[:, self._waves.pools] = asked
        return share, (asked,)

    def _is_low(self, view: Record) -> BoolArray:
        """Which sites have a low cap now or before long, `[N, S]`."""
        coming_w = view["announced_cap_w"][:, :, self._leads].min(axis=2, initial=np.inf)
        low: BoolArray = np.minimum(view["cap_w"], coming_w) < self._low_w
        return low
