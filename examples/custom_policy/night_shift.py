"""A policy of one's own: run fast while electricity is cheap, slowly while it is not."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tokenfleet.envs import Controls, Record
from tokenfleet.policies import ControlPolicy, PolicyContext, State


class NightShift(ControlPolicy):
    """Full clocks at sites whose electricity costs no more than `cheap_usd_per_mwh`, `slow_clock` at the others.

    Args:
        context: the environment.
        cheap_usd_per_mwh: what counts as cheap [USD/MWh].
        slow_clock: clock fraction where electricity is dear.
    """

    fields = ("price_usd_per_mwh",)

    def __init__(
        self,
        context: PolicyContext,
        cheap_usd_per_mwh: float = 50.0,
        slow_clock: Annotated[float, Field(gt=0, le=1)] = 0.7,
    ) -> None:
        super().__init__(context)
        self.cheap_usd_per_mwh = cheap_usd_per_mwh
        self.slow_clock = slow_clock
        sites = list(self.scenario.sites)
        self.site_of_pool = [sites.index(pool.site) for pool in self.scenario.pools.values()]

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """Even routing, everything awake, everything admitted; only the clocks depend on the price."""
        is_cheap = view["price_usd_per_mwh"] <= self.cheap_usd_per_mwh  # [N, S]
        controls = Controls.neutral(len(view.rows), self.scenario.route_mask.astype(float))
        controls.clock_fraction[:] = np.where(is_cheap, 1.0, self.slow_clock)[:, self.site_of_pool]
        return controls, state
