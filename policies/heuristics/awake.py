"""Awake rules: how many replicas of each pool are awake to take requests."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np

from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.clock_limits import replicas_that_fit, usual_replicas
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Awake, Float64Array, Int64Array
from tokenfleet.policies.heuristics.steady import SteadyPools

MOST_CHOICES = 20_000
"""Most combinations of a site's replicas that are tried; of more, only some are."""
CAP_LEVELS = 50
"""Caps for which sets are chosen: 1/50 to 50/50 of the contract."""


class FixedAwake(Awake):
    """A constant number of replicas for each pool, which a subclass defines.

    Attributes:
        usual: that number, `[P]`.
    """

    def __init__(self, usual: Float64Array) -> None:
        self.usual = usual

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        return np.broadcast_to(self.usual, (len(view.rows), len(self.usual))), state


class AllAwake(FixedAwake):
    """Every replica, always; a clock rule may bound it."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(np.array([pool.replicas for pool in scenario.pools.values()], np.float64))


class FitContract(FixedAwake):
    """As many replicas as fit the contracts at the clock floor under the worst load; events change nothing."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(usual_replicas(scenario).astype(np.float64))


class FitDeepest(FixedAwake):
    """As many replicas as fit the deepest possible caps at the clock floor under the worst load."""

    def __init__(self, scenario: Scenario) -> None:
        power = ServiceModel(scenario).power
        deepest_w = CapForecast.of_sites(scenario, np.zeros(len(scenario.sites))).deepest_w
        super().__init__(replicas_that_fit(scenario, power, deepest_w).astype(np.float64))


class ByValue(Awake):
    """The set of awake replicas that earns most under the cap in the steady state.

    For each site the rule compares numbers of replicas in each pool. Each combination runs at the highest common clock
    at which the replicas, fully loaded, draw no more than `fill` of the caps of site and rows. It earns the list price
    of what it serves, less the cost of idle power. Every model keeps a replica awake at each of its sites.

    The cap is the contract: replicas wake late, so after a short event the fleet would be small for longer than the cap
    was low. Where a cap may fall without notice, the breaker's limit falls with it and the breaker would trip: there
    the set follows the lowest known cap, now or announced.

    Args:
        scenario: of the fleet.
        fill: share of the cap that full load may draw.
        follow: whether the set follows caps of sites that fall without notice (`sudden`), or of all sites (`all`).

    Attributes:
        usual: the set under the contracts, `[P]`.
    """

    fields = ("cap_w", "announced_cap_w")

    def __init__(
        self, scenario: Scenario, fill: PositiveFloat = 0.9, follow: Literal["sudden", "all"] = "sudden"
    ) -> None:
        self._cap, sets = _CapShare(scenario), _SetsByValue(scenario, fill)
        self.usual = sets.best(1.0)
        follows = [follow == "all" or bool(site.grid.emergencies) for site in scenario.sites.values()]
        self._follows = any(follows)
        shares = np.arange(1, CAP_LEVELS + 1) / CAP_LEVELS if self._follows else np.ones(1)
        by_share = np.array([sets.best(share) for share in shares])
        self._sets = np.where(np.array(follows)[self._cap.site_of_pool], by_share, self.usual)

    @property
    def reads(self) -> frozenset[str]:
        """See `Rule.reads`; a set that follows no cap reads nothing."""
        return super().reads if self._follows else frozenset()

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        if not self._follows:
            return np.broadcast_to(self.usual, (len(view.rows), len(self.usual))), state
        level = np.floor(self._cap.of_pools(view) * CAP_LEVELS + 1e-6).astype(np.int64) - 1
        return self._sets[np.maximum(level, 0), np.arange(len(self.usual))], state


class ProportionalToCap(Awake):
    """Awake replicas in proportion to the cap: a cap of 70 % of the contract keeps 70 % of a site's usual replicas.

    The rule follows the lowest cap, now or announced, and keeps at least one replica of a pool. Replicas wake late, so
    after a short event the fleet is small for longer than the cap was low.

    Args:
        scenario: of the fleet.
    """

    fields = ("cap_w", "announced_cap_w")

    def __init__(self, scenario: Scenario) -> None:
        self._cap = _CapShare(scenario)
        self._usual = usual_replicas(scenario).astype(np.float64)

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        return _in_proportion(self._cap.of_pools(view), self._usual), state


class FollowDemand(Awake):
    """Replicas by a smoothed arrival rate, with patience before one sleeps, never more than `ByValue` keeps.

    Each class's demand is spread over pools by capacity. A pool keeps `headroom` times the replicas for its share at
    full clock and wakes them at once. Once some have been spare for `patience` wake times, one goes to sleep each tick.

    Args:
        scenario: of the fleet.
        headroom: replicas kept, over those that the smoothed demand keeps busy.
        smoothing_s: time constant of the arrival rate [s].
        patience: spare time before a replica sleeps, in wake times of its model.
    """

    fields = ("arrived",)

    def __init__(
        self,
        scenario: Scenario,
        headroom: PositiveFloat = 2.0,
        smoothing_s: PositiveFloat = 60.0,
        patience: NonNegativeFloat = 1.0,
    ) -> None:
        self._pools, self._bound = SteadyPools(scenario), ByValue(scenario)
        a = self._pools.service.power.arrays
        self._tick_s, self._headroom = a.tick_s, headroom
        self._smoothing = min(1.0, a.tick_s / smoothing_s)
        self._sleep_after_s = patience * a.wake_s

    @property
    def reads(self) -> frozenset[str]:
        """See `Rule.reads`."""
        return super().reads | self._bound.reads

    def initial_state(self, num_envs: int) -> State:
        """Arrival rates `[N, K]` [requests/s], replicas kept `[N, P]`, and how long some were spare `[N, P]` [s]."""
        most = self._bound.usual
        pools = (num_envs, len(most))
        rate_rps = np.broadcast_to(self._pools.service.mean_rate_rps, (num_envs, self._pools.classes))
        return (rate_rps.copy(), np.broadcast_to(most, pools).copy(), np.zeros(pools))

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        rate_rps, kept, spare_s = state
        rate_rps = rate_rps + self._smoothing * (view["arrived"] / self._tick_s - rate_rps)
        most, _ = self._bound.replicas(view, ())
        needed = np.ceil(self._headroom * self._pools.busy_replicas(rate_rps, self._bound.usual) - 1e-9)
        needed = np.clip(needed, np.minimum(most, 1.0), most)
        spare_s = np.where(needed < kept, spare_s + self._tick_s, 0.0)
        kept = np.where(needed < kept, kept - (spare_s > self._sleep_after_s), needed)
        kept = np.minimum(kept, most)
        return kept, (rate_rps, kept, spare_s)


def awake_by_value(scenario: Scenario, fill: float = 0.9) -> Float64Array:
    """The set of `ByValue` under the contracts, `[P]`."""
    return _SetsByValue(scenario, fill).best(1.0)


class _SetsByValue:
    """Sets of replicas, and what they are worth under a cap."""

    def __init__(self, scenario: Scenario, fill: float) -> None:
        self._scenario, self._fill = scenario, fill
        self._pools = SteadyPools(scenario)
        self._arrays = self._pools.service.power.arrays
        self._usual = usual_replicas(scenario)
        of_site = [np.flatnonzero(self._arrays.site == s) for s in range(len(scenario.sites))]
        self._sites = [(name, mine, self._tried(mine)) for name, mine in zip(scenario.sites, of_site, strict=True)]

    def best(self, cap_share: float) -> Float64Array:
        """The sets that earn most where each site's cap is `cap_share` of its contract, `[P]`."""
        best = np.empty(self._arrays.num_pools)
        for name, mine, tried in self._sites:
            if tried is None:
                best[mine] = _in_proportion(cap_share, self._usual[mine])
                continue
            limits = [(self._fill * cap_share * self._scenario.contract_w(name), mine), *self._rows(name, mine)]
            best[mine] = tried[np.argmax(self._pools.value_under_caps(tried, mine, limits))]
        return best

    def _tried(self, mine: Int64Array) -> Float64Array | None:
        """Combinations of replicas of a site's pools that keep one of each model awake, `[C, len(mine)]`.

        None where a pool only decodes for others: such a pool has no value of its own.
        """
        if not self._scenario.route_mask[:, mine].any(axis=0).all():
            return None
        counts = [np.unique(np.round(np.linspace(0, n, int(min(n, 40)) + 1))) for n in self._arrays.replicas[mine]]
        while np.prod([len(some) for some in counts]) > MOST_CHOICES:
            counts = [some[::2] if len(some) > 2 else some[-1:] for some in counts]
        tried = np.array(list(product(*counts)))
        models = [self._scenario.pools[pool].model for pool in np.array(list(self._scenario.pools))[mine]]
        alive = [tried[:, [name == model for name in models]].any(axis=1) for model in dict.fromkeys(models)]
        return tried[np.all(alive, axis=0)]

    def _rows(self, site: str, mine: Int64Array) -> list[tuple[float, Int64Array]]:
        """Watts that full load may draw from each row of a site, and the site's pools behind the row."""
        limits = []
        for w, row in enumerate(self._scenario.rows):
            if row[0] == site:
                behind = np.flatnonzero(self._pools.service.power.is_behind_row[:, w])
                limits.append((self._fill * self._scenario.row_cap_w(*row), np.intersect1d(behind, mine)))
        return limits


class _CapShare:
    """The lowest cap that is known, now or announced, as a share of the contract."""

    def __init__(self, scenario: Scenario) -> None:
        self.site_of_pool = ServiceModel(scenario).power.arrays.site
        self._contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])

    def of_pools(self, view: Record) -> Float64Array:
        """The share at the site of each pool, at most 1, `[N, P]`."""
        lowest_w = np.minimum(view["cap_w"], view["announced_cap_w"].min(axis=2, initial=np.inf))
        share: Float64Array = np.minimum(lowest_w / self._contract_w, 1.0)[:, self.site_of_pool]
        return share


def _in_proportion(share: Float64Array | float, replicas: Float64Array | Int64Array) -> Float64Array:
    """A share of each pool's replicas, rounded up, and at least one where the pool has any."""
    kept: Float64Array = np.maximum(np.ceil(share * replicas - 1e-6), np.minimum(replicas, 1.0))
    return kept
