"""Routing rules: how each class's requests are split over the pools that serve its model.

A rule sees the fleet's view and answers with shares `[N, K, P]`; the engine assigns requests to a pool's replicas.
Rules are stateless: all that they need is in the observation.
"""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.backlog import BACKLOG_FIELDS, backlog_seconds, least_work_weights
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.spec import PositiveFloat
from tokenfleet.policies.heuristics.parts import Float64Array, Routing


class RoundRobin(Routing):
    """Equal shares over the pools that serve the class, whatever their size or load.

    Within a class the engine turns shares into smooth weighted round robin, so requests alternate over the pools.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._share = scenario.route_mask.astype(np.float64)

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        return _repeat(self._share, view)


class CapacityWeighted(Routing):
    """Shares in proportion to what each pool could serve of the class alone at full clock [requests/s].

    The action 0 means these shares; the rate is that of `tokenfleet.envs.scenario.capacity.capacity_rps`.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._share = capacity_rps(scenario)

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        return _repeat(self._share, view)


class LeastWork(Routing):
    """Shares to the pools with the least outstanding work per awake replica.

    The work of a pool is a backlog in seconds (`estimates.backlog.backlog_seconds`). A pool's weight is its awake
    capacity times how far its backlog lies below `least + spread` (`least_work_weights`), and 0 from there on.

    The rule does not see prefix caches, and calls do not return to a pool without a share. So where contexts are kept,
    the spread must include the pools that hold them.

    Args:
        scenario: of the fleet.
        spread_s: backlog above the least one at which a pool's share reaches 0 [s]; small values follow the load faster
            and swing more.
        context_spread_s: the same for classes that meet a pool with a prefix cache [s]; None for `spread_s`.
    """

    fields = BACKLOG_FIELDS

    def __init__(
        self, scenario: Scenario, spread_s: PositiveFloat = 1.0, context_spread_s: PositiveFloat | None = None
    ) -> None:
        self._service = ServiceModel(scenario)
        self._spread_s = spreads_s(scenario, spread_s, context_spread_s or spread_s)[None, :, None]
        self._capacity_rps = capacity_rps(scenario)
        self._mask = scenario.route_mask

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        backlog_s = np.where(self._mask, backlog_seconds(self._service, view)[:, None, :], np.inf)
        awake_share = view["awake_replicas"] / self._service.power.arrays.replicas
        return least_work_weights(backlog_s, self._spread_s, self._capacity_rps, awake_share)


def spreads_s(scenario: Scenario, spread_s: float, context_spread_s: float) -> Float64Array:
    """Spread of each class, `[K]` [s]: the wider one where some pool keeps the contexts of its requests."""
    keeps = np.array([pool.prefix_cache for pool in scenario.pools.values()])
    return np.where((scenario.route_mask & keeps).any(axis=1), context_spread_s, spread_s)


def _repeat(share: Float64Array, view: Record) -> Float64Array:
    return np.broadcast_to(share, (len(view.rows), *share.shape))
