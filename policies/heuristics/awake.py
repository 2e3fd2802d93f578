"""Awake rules: how many replicas take requests and draw power for it."""

from __future__ import annotations

from itertools import product

import numpy as np

from tokenfleet.envs.estimates.cap_forecast import CapForecast, least_left_fraction
from tokenfleet.envs.estimates.clock_limits import replicas_that_fit, usual_replicas
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.power import EmergencySpec
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Awake, Float64Array
from tokenfleet.policies.heuristics.steady import SteadyPools

MOST_CHOICES = 20_000
"""Combinations of a site's replicas that are tried one by one; larger sites are thinned out."""


class FixedAwake(Awake):
    """A number of replicas that never changes; a subclass says which."""

    def __init__(self, awake: Float64Array) -> None:
        self._awake = awake

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        return np.broadcast_to(self._awake, (len(view.rows), len(self._awake))), state


class AllAwake(FixedAwake):
    """Every replica, always; a clock rule may bound it."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(np.array([pool.replicas for pool in scenario.pools.values()], np.float64))


class FitContract(FixedAwake):
    """As many as fit the contracts at the clock floor at worst, whatever event may come."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(usual_replicas(scenario).astype(np.float64))


class FitDeepest(FixedAwake):
    """As many as fit the deepest caps that may come, at the clock floor at worst (`replicas_that_fit`)."""

    def __init__(self, scenario: Scenario) -> None:
        power = ServiceModel(scenario).power
        deepest_w = CapForecast.of_sites(scenario, np.zeros(len(scenario.sites))).deepest_w
        super().__init__(replicas_that_fit(scenario, power, deepest_w).astype(np.float64))


class ByValue(FixedAwake):
    """The fixed set of replicas that earns most under the cap, by the steady state.

    For every site all numbers of replicas are tried with the highest common clock at which they, fully loaded, draw no
    more than `fill` of the contract, and of the caps of rows. Their service is then worth its list price, and idle
    power costs its own. In the deepest cap without notice the breaker must carry the set at the clock floor, for nobody
    can put a loaded replica to sleep at once. Every model keeps a replica at each of its sites where one stands.

    Args:
        scenario: of the fleet.
        fill: share of the cap that full load may draw.
    """

    def __init__(self, scenario: Scenario, fill: PositiveFloat = 0.9) -> None:
        super().__init__(awake_by_value(scenario, fill))


class ProportionalToCap(Awake):
    """Awake replicas in proportion to the cap: a site under 70 % of its usual cap keeps 70 % of its usual replicas.

    The rule follows the lowest announced cap, never below one replica of a pool. Replicas wake late, so that after a
    short event the fleet is small for longer than the cap was low.

    Args:
        scenario: of the fleet.
    """

    fields = ("cap_w", "announced_cap_w")

    def __init__(self, scenario: Scenario) -> None:
        arrays = ServiceModel(scenario).power.arrays
        self._site = arrays.site
        self._usual = usual_replicas(scenario).astype(np.float64)
        self._contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        lowest_w = np.minimum(view["cap_w"], view["announced_cap_w"].min(axis=2, initial=np.inf))
        share = np.minimum(lowest_w / self._contract_w, 1.0)[:, self._site]
        return np.maximum(np.ceil(share * self._usual - 1e-6), np.minimum(self._usual, 1.0)), state


class FollowDemand(Awake):
    """Replicas by a smoothed arrival rate, with patience before one sleeps.

    A pool's share of its model's demand goes by capacity. The pool keeps `headroom` times the replicas for that share
    at full clock, wakes them at once, and lets one sleep a tick once some have been spare for `patience` wake times.

    Args:
        scenario: of the fleet.
        headroom: replicas over what the mean demand keeps busy.
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
        self._pools = SteadyPools(scenario)
        self._most = awake_by_value(scenario)
        a = self._pools.service.power.arrays
        self._tick_s, self._headroom = a.tick_s, headroom
        self._smoothing = min(1.0, a.tick_s / smoothing_s)
        self._sleep_after_s = patience * a.wake_s

    def initial_state(self, num_envs: int) -> State:
        """Arrival rates `[N, K]`, replicas kept and seconds that some were spare `[N, P]`."""
        pools = (num_envs, len(self._most))
        rate_rps = np.broadcast_to(self._pools.service.mean_rate_rps, (num_envs, self._pools.classes))
        return (rate_rps.copy(), np.broadcast_to(self._most, pools).copy(), np.zeros(pools))

    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Awake.replicas`."""
        rate_rps, kept, spare_s = state
        rate_rps = rate_rps + self._smoothing * (view["arrived"] / self._tick_s - rate_rps)
        needed = np.ceil(self._headroom * self._pools.busy_replicas(rate_rps, self._most) - 1e-9)
        needed = np.clip(needed, np.minimum(self._most, 1.0), self._most)
        spare_s = np.where(needed < kept, spare_s + self._tick_s, 0.0)
        kept = np.where(needed < kept, kept - (spare_s > self._sleep_after_s), needed)
        return kept, (rate_rps, kept, spare_s)


def awake_by_value(scenario: Scenario, fill: float = 0.9) -> Float64Array:
    """The set of `ByValue`, `[P]`."""
    pools = SteadyPools(scenario)
    a = pools.service.power.arrays
    awake = a.replicas.astype(np.float64)
    usual, sudden_w = usual_replicas(scenario), _sudden_caps_w(scenario)
    for s, (name, site) in enumerate(scenario.sites.items()):
        mine = np.flatnonzero(a.site == s)
        if not scenario.route_mask[:, mine].any(axis=0).all():  # what decodes for others has no value of its own
            awake[mine] = usual[mine]
            continue
        counts = [np.unique(np.round(np.linspace(0, n, int(min(n, 40)) + 1))) for n in a.replicas[mine]]
        while np.prod([len(some) for some in counts]) > MOST_CHOICES:
            counts = [some[::2] for some in counts]
        tried = np.array(list(product(*counts)))
        limits = [(fill * scenario.contract_w(name), mine)]
        for row in (key for key in scenario.rows if key[0] == name):
            behind = np.flatnonzero(pools.service.power.is_behind_row[:, list(scenario.rows).index(row)])
            limits.append((fill * scenario.row_cap_w(*row), np.intersect1d(behind, mine)))
        value = pools.value_under_caps(tried, mine, limits)
        stands = pools.site_w(tried, mine)[:, 0] <= site.grid.breaker.pickup_ratio * sudden_w[s]
        models = [scenario.pools[pool].model for pool in np.array(list(scenario.pools))[mine]]
        serves = np.ones(len(tried), np.bool_)
        for model in models:
            serves &= tried[:, [name == model for name in models]].any(axis=1)
        awake[mine] = tried[np.argmax(value - 1e3 * ~serves - 1e6 * ~stands)]
    return awake


def _sudden_caps_w(scenario: Scenario) -> Float64Array:
    """The deepest cap of every site that can come without notice, `[S]` [W]."""
    left = []
    for site in scenario.sites.values():
        sudden = [event for event in site.grid.events if isinstance(event, EmergencySpec)]
        left.append(least_left_fraction(sudden))
    contract_w = np.array([scenario.contract_w(name) for name in scenario.sites])
    sudden_w: Float64Array = contract_w * np.array(left)
    return sudden_w
