"""Layer 6, scheduling: what a policy may set at every tick, in physical units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.quantities import quantity

Float64Array = NDArray[np.float64]


HIGHEST_SHARE = 1e100
"""Sums of shares up to this stay finite."""


@dataclass(frozen=True)
class Controls:
    """One tick's decisions for N fleets of K request classes, P pools and S sites, in physical units.

    Heuristics write controls directly; `tokenfleet.envs.action` maps controls to and from the Box that RL sees. Where a
    control may be left out, None stands for its neutral value.
    """

    route_share: Float64Array = quantity(
        "NKP",
        "",
        "How each class's requests are split over pools. The engine counts only pools that serve the class's model and "
        "have an awake replica, and normalises; with nothing left to choose, the request is refused.",
        low=0.0,
        high=HIGHEST_SHARE,
    )
    clock_fraction: Float64Array = quantity(
        "NP",
        "",
        "GPU clock over the highest clock; the engine keeps it at or above the clock floor.",
        low=0.0,
        high=1.0,
        neutral=1.0,
    )
    awake_fraction: Float64Array = quantity(
        "NP",
        "",
        "Share of a pool's replicas that should be awake, rounded up to replicas.",
        low=0.0,
        high=1.0,
        neutral=1.0,
    )
    admit_rate_rps: Float64Array = quantity(
        "NK",
        "requests/s",
        "Admission limit of an interactive class, or release rate of a deferrable one; infinity means no limit.",
        low=0.0,
        neutral=np.inf,
    )
    battery_power_w: Float64Array | None = quantity(
        "NS",
        "W",
        "What each site's battery is asked for: positive to discharge, negative to charge; the engine keeps it within "
        "what the battery and the site can do.",
        optional=True,
    )
    prefix_affinity: Float64Array | None = quantity(
        "NK",
        "tokens/token",
        "A call goes to the replica that holds its conversation, instead of the least loaded one of the pool that the "
        "shares give, if its queue is longer by at most so many tokens for each cached one. 0 looks at load alone, 1 "
        "weighs waiting and computing alike, infinity always returns.",
        low=0.0,
        neutral=1.0,
        optional=True,
    )
    token_price_factor: Float64Array | None = quantity(
        "NK",
        "",
        "Token price over the list price for calls of this tick; the engine keeps it within what the class allows.",
        low=0.0,
        neutral=1.0,
        optional=True,
    )

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
