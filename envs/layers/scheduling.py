"""Layer 6, scheduling: what a brain may set at every tick, in physical units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Controls:
    """One tick's decisions for N fleets of K request classes, P pools and S sites.

    Heuristics write these directly; `tokenfleet.envs.action` maps them to and from the Box that RL sees.

    Attributes:
        route_share: how each class's requests are split over pools, `[N, K, P]`; non-negative. The engine counts only
            pools that serve the class's model and have an awake replica, and normalises; with nothing left to choose,
            the request is refused.
        clock_fraction: GPU clock over the highest clock, `[N, P]`, within [clock floor, 1].
        awake_fraction: share of a pool's replicas that should be awake, `[N, P]`, in [0, 1]; rounded up to replicas.
        admit_rate_rps: admission limit of an interactive class, or release rate of a deferrable one, `[N, K]`, in
            [0, inf]; infinity means no limit.
        battery_power_w: what each site's battery is asked for, `[N, S]` [W]: positive to discharge, negative to charge;
            the engine keeps it within what the battery and the site can do. None lets every battery rest.
        prefix_affinity: `[N, K]`, non-negative: a call goes to the replica that holds its conversation, instead of the
            least loaded one of the pool that the shares give, if its queue is longer by at most so many tokens for each
            cached one. 0 looks at load alone, 1 weighs waiting and computing alike, infinity always returns. None is 1.
        token_price_factor: token price over the list price for calls of this tick, `[N, K]`; the engine keeps it within
            what the class allows. None asks the list price.
    """

    route_share: Float64Array
    clock_fraction: Float64Array
    awake_fraction: Float64Array
    admit_rate_rps: Float64Array
    battery_power_w: Float64Array | None = None
    prefix_affinity: Float64Array | None = None
    token_price_factor: Float64Array | None = None

    @property
    def num_envs(self) -> int:
        """N, the number of fleets."""
        return int(self.route_share.shape[0])

    @classmethod
    def neutral(cls, num_envs: int, route_share: Float64Array) -> Controls:
        """Full clocks, everything awake, everything admitted, batteries at rest, with the given `[K, P]` shares."""
        classes, pools = route_share.shape
        return cls(
            route_share=np.broadcast_to(route_share, (num_envs, classes, pools)).astype(np.float64).copy(),
            clock_fraction=np.ones((num_envs, pools)),
            awake_fraction=np.ones((num_envs, pools)),
            admit_rate_rps=np.full((num_envs, classes), np.inf),
        )
