"""Drift plus penalty: a real or virtual queue for every constraint, and a weight on the bill for energy."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import SteadyPools


class DriftPlusPenalty(Clocking):
    """Each pool's clock minimises `V price W(F) + Z W(F) - Q mu(F)`.

    M. Neely, "Stochastic network optimization", 2010, doi:10.2200/s00271ed1v01y201006cnt007. `Z` is the virtual queue
    of the cap, `Z <- Z + (power - cap) / cap` in 0 to 20, with the lowest cap of the next 2 s. `Q` is the requests that
    wait or run on an awake replica, over a quarter of its seats, at most 4. `mu` [USD/s] and `W` [W] are those of a
    loaded replica (`SteadyPools`). In theory the gap to the best is O(1 / V) and the backlog O(V); the bounds are ours.

    Args:
        scenario: of the fleet.
        v: weight of the energy bill against the queues (ours).
        z_scale: weight of the virtual queue, in what a loaded replica earns per watt: how fast clocks answer the cap
            (ours).
    """

    fields = (
        "cap_w",
        "announced_cap_w",
        "site_power_w",
        "price_usd_per_mwh",
        "waiting_requests",
        "running_requests",
        "awake_replicas",
    )

    def __init__(self, scenario: Scenario, v: PositiveFloat = 1.0, z_scale: PositiveFloat = 1.0) -> None:
        self._pools = SteadyPools(scenario)
        a = self._pools.service.power.arrays
        self._site, self._max_batch = a.site, a.max_batch.astype(np.float64)
        self._forecast = CapForecast.of_sites(scenario, np.full(a.num_sites, 2.0))
        self._v, self._z_scale = v, z_scale
        self._earned, self._drawn, self._usd_per_j = self._pools.earned_and_drawn()

    def initial_state(self, num_envs: int) -> State:
        """The virtual queue of every site's cap, `[N, S]`."""
        return (np.zeros((num_envs, self._site.max() + 1)),)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        (z,) = state
        cap_w = self._forecast.lowest_w(view["cap_w"], view["announced_cap_w"])
        z = np.clip(z + (view["site_power_w"] - cap_w) / cap_w, 0.0, 20.0)
        awake = np.maximum(view["awake_replicas"], 1e-9)
        queue = np.minimum(
            (view["waiting_requests"] + view["running_requests"]) / awake / (0.25 * self._max_batch), 4.0
        )
        price = self._v * view["price_usd_per_mwh"] / 3.6e9 + self._z_scale * self._usd_per_j * z
        worth = queue[:, None, :] * self._earned - price[:, self._site][:, None, :] * self._drawn
        return self._pools.pool_clocks[worth.argmax(axis=1), np.arange(len(self._site))], (z,)
