"""TAPAS in spirit: routes around rows and rooms that are near their limits."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFraction
from tokenfleet.policies.heuristics.parts import Float64Array, Routing


class TapasRouting(Routing):
    """Requests go by capacity to pools whose row, site and room are not near a limit; to all pools if none is safe.

    TAPAS (arXiv 2501.02600, ASPLOS 2025): only the structure is published, no code. It excludes instances at risk from
    routing and packs the rest. Both thresholds are ours. So is capacity instead of packing, because the paper's
    templates of instances' peaks have no counterpart here.

    Args:
        scenario: of the fleet.
        risky_power: share of a cap from which a pool is at risk (ours).
        risky_k: distance from a room's limit within which a pool is at risk (ours) [K].
    """

    fields = ("power_over_cap", "row_power_over_cap", "room_c", "awake_replicas")

    def __init__(
        self, scenario: Scenario, risky_power: PositiveFraction = 0.9, risky_k: NonNegativeFloat = 2.0
    ) -> None:
        power = ServiceModel(scenario).power
        a = power.arrays
        self._site, self._replicas, self._behind = a.site, a.replicas.astype(np.float64), power.is_behind_row
        self._capacity, self._risky_power = capacity_rps(scenario), risky_power
        self._in_rooms = np.flatnonzero(a.room >= 0)
        self._risky_c = a.room_limit_c[self._in_rooms] - risky_k

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        site_risk = view["power_over_cap"] > self._risky_power
        site_risk[:, self._in_rooms] |= view["room_c"] > self._risky_c
        risk = site_risk[:, self._site]
        for w, behind in enumerate(self._behind.T):
            risk = risk | (behind & (view["row_power_over_cap"][:, w : w + 1] > self._risky_power))
        capacity = self._capacity * (view["awake_replicas"] / self._replicas)[:, None, :]
        safe = capacity * ~risk[:, None, :]
        some = safe.sum(axis=2, keepdims=True) > 0.0
        return np.where(some, safe + 1e-3 * capacity, capacity)
