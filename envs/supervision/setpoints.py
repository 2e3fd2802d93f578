"""What a human supervisor sets now and then, in physical units; loops turn it into controls at every tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.quantities import LARGEST, neutral_arrays, quantities_of, quantity, record_problems
from tokenfleet.envs.spec import SpecError

Float64Array = NDArray[np.float64]

POWER_SHARE = 0.96
"""The rule `feedback_capping` leaves the rest free."""


@dataclass(frozen=True)
class Setpoints:
    """The set-points of N fleets of K request classes, P pools and S sites.

    `supervision.loop.InnerLoop` holds them. None stands for a set-point that is left out.
    """

    power_share: Float64Array = quantity(
        "NS",
        "",
        "Power that the clocks of a site are steered to, over the lowest cap that can come in the next seconds.",
        low=0.0,
        high=2.0,
        neutral=POWER_SHARE,
    )
    clock_bias: Float64Array = quantity(
        "NP",
        "",
        "Clock of a pool over that of its site, as a difference of shares of the highest clock.",
        low=-1.0,
        high=1.0,
        neutral=0.0,
    )
    brake_share: Float64Array = quantity(
        "NS",
        "",
        "Share of the brake's delay to spend: while work waits and less of it is used, the site stands above its cap "
        "by what its breaker carries for ever.",
        low=0.0,
        high=1.0,
        neutral=0.0,
    )
    route_bias_s: Float64Array = quantity(
        "NKP",
        "s",
        "Backlog by which a pool counts as shorter to a class than it is.",
        low=-LARGEST,
        high=LARGEST,
        neutral=0.0,
    )
    route_spread_s: Float64Array = quantity(
        "NK",
        "s",
        "Backlog above the least one at which a pool gets nothing of the class any more.",
        low=0.0,
        high=LARGEST,
        neutral=1.0,
    )
    awake_replicas: Float64Array = quantity(
        "NP",
        "replicas",
        "Replicas to keep awake, rounded to whole ones.",
        low=0.0,
        neutral=np.inf,
    )
    backlog_limit_s: Float64Array = quantity(
        "NK",
        "s",
        "Backlog up to which requests of the class are let in (interactive) or released (deferrable); infinity means "
        "always.",
        low=0.0,
        neutral=np.inf,
    )
    battery_charge: Float64Array | None = quantity(
        "NS",
        "",
        "Share of its capacity that a site's battery should hold; batteries rest if left out.",
        low=0.0,
        high=1.0,
        optional=True,
    )
    prefix_affinity: Float64Array | None = quantity(
        "NK", "tokens/token", "As in `Controls`.", low=0.0, neutral=1.0, optional=True
    )
    token_price_factor: Float64Array | None = quantity(
        "NK", "", "As in `Controls`.", low=0.0, neutral=1.0, optional=True
    )
    training_share: Float64Array | None = quantity(
        "NS", "", "As in `Controls`.", low=0.0, high=1.0, neutral=1.0, optional=True
    )
    standby_fraction: Float64Array | None = quantity("NP", "", "As in `Controls`.", low=0.0, high=1.0, optional=True)
    variant_fraction: Float64Array | None = quantity(
        "NP", "", "As in `Controls`, and reached in waves of a quarter of the pool.", low=0.0, high=1.0, optional=True
    )

    @property
    def num_envs(self) -> int:
        """N, the number of fleets."""
        return int(self.power_share.shape[0])

    @classmethod
    def neutral(cls, sizes: Mapping[str, int], **given: Any) -> Setpoints:
        """The `given` set-points, numbers or arrays that broadcast, else neutral ones; `sizes` by axis letter."""
        rest = neutral_arrays(cls, sizes)
        names = [q.name for q in quantities_of(cls) if not q.optional or given.get(q.name) is not None]
        return cls(**{name: np.array(np.broadcast_to(given.get(name, rest[name]), rest[name].shape)) for name in names})

    def check(self, sizes: Mapping[str, int]) -> None:
        """Refuse set-points of other shapes, or outside of their bounds.

        Raises:
            SpecError: one line per mistake.
        """
        problems = record_problems(self, sizes, "setpoints")
        if problems:
            raise SpecError(problems)
