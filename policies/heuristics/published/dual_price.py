"""A dual price on the cap, by online feedback."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.feedback import Margin
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import SteadyPools


class DualPrice(Clocking):
    """A watt's shadow price rises above the cap and falls below it; each pool's clock earns most at that price.

    OpenG2G @c582a51, `openg2g/controller/ofo.py` [code]: online feedback optimisation with dual ascent on a measured
    limit and primal ascent on the knobs. There the limit is voltage, the knob the logarithm of the batch size; here
    they are the cap and the clock. With a target of `(1 - margin) cap`, `pi <- pi + rho (power - target) / target` in 0
    to 10, in units of what a watt of a loaded fleet earns, and `mu <- mu + sigma (TTFT - limit) / limit` in 0 to 1
    raises what a late pool earns; both upper bounds are ours. A pool goes part of the way to the clock with the highest
    `(1 + mu) value(F) - (price + pi) W(F)`, so that pools are ranked by value per watt; in the source the step bounds
    each move.

    Args:
        scenario: of the fleet.
        rho: dual step; 0.5 a second in the source [code].
        sigma: dual step of latency; 1.0 in the source [code].
        primal_step: share of the way to the best clock that is taken in a tick (ours).
        margin: share of the cap that is left free (ours).
        ahead_s: how far ahead a falling cap is followed [s] (ours).
    """

    fields = ("cap_w", "announced_cap_w", "site_power_w", "price_usd_per_mwh", "ttft_mean_s", "braked")

    def __init__(
        self,
        scenario: Scenario,
        rho: PositiveFloat = 0.5,
        sigma: NonNegativeFloat = 1.0,
        primal_step: PositiveFraction = 0.5,
        margin: Margin = 0.04,
        ahead_s: NonNegativeFloat = 2.0,
    ) -> None:
        self._pools = SteadyPools(scenario)
        a = self._pools.service.power.arrays
        self._site, self._floor, self._mask = a.site, a.clock_floor_fraction, scenario.route_mask
        self._forecast = CapForecast.of_sites(scenario, np.full(a.num_sites, ahead_s))
        self._rho, self._sigma, self._step, self._margin = rho, sigma, primal_step, margin
        self._limit_s = np.array([cls.ttft_s or cls.deadline_s or np.inf for cls in scenario.classes.values()])
        self._earned, self._drawn, self._usd_per_j = self._pools.earned_and_drawn()

    def initial_state(self, num_envs: int) -> State:
        """The price of a watt at each site `[N, S]`, of lateness in each class `[N, K]`, and clocks `[N, P]`."""
        sites, classes, pools = self._site.max() + 1, len(self._limit_s), len(self._site)
        return (np.zeros((num_envs, sites)), np.zeros((num_envs, classes)), np.ones((num_envs, pools)))

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        pi, mu, clock = state
        cap_w = (1.0 - self._margin) * self._forecast.lowest_w(view["cap_w"], view["announced_cap_w"])
        over = (view["site_power_w"] - cap_w) / cap_w
        over = np.where(view["braked"] > 0.0, np.maximum(over, 0.0), over)
        pi = np.clip(pi + self._rho * over, 0.0, 10.0)
        late = np.where(view["ttft_mean_s"] > 0.0, view["ttft_mean_s"] / self._limit_s - 1.0, -1.0)
        mu = np.clip(mu + self._sigma * late, 0.0, 1.0)
        urgency = 1.0 + np.where(self._mask, mu[:, :, None], 0.0).max(axis=1)  # [N, P]
        price = (view["price_usd_per_mwh"] / 3.6e9 + self._usd_per_j * pi)[:, self._site]
        worth = urgency[:, None, :] * self._earned - price[:, None, :] * self._drawn
        best = self._pools.pool_clocks[worth.argmax(axis=1), np.arange(len(self._site))]
        clock = clock + self._step * (best - clock)
        return np.maximum(clock, self._floor), (pi, mu, clock)
