"""Layer 6, scheduling: what a policy may set at every tick, in physical units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.quantities import neutral_arrays, quantities_of, quantity

Float64Array = NDArray[np.float64]


HIGHEST_SHARE = 1e100
"""Sums of shares up to this stay finite."""


@dataclass(frozen=True)
class Controls:
    """One tick's decisions for N fleets of K request classes, P pools and S sites, in physical units.

    Heuristics write controls directly; `envs.interface.action` maps controls to and from the Box that RL sees. Where a
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
        "Share of a pool's replicas that should be awake, rounded up to replicas but for 1e-4 of one.",
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
    training_share: Float64Array | None = quantity(
        "NS",
        "",
        "Share of a site's training jobs that should work, rounded as `awake_fraction`; the others pause once they "
        "have written a checkpoint.",
        low=0.0,
        high=1.0,
        neutral=1.0,
        optional=True,
    )
    standby_fraction: Float64Array | None = quantity(
        "NP",
        "",
        "Share of a pool's replicas that should stand by, of those that need not be awake; rounded as "
        "`awake_fraction`. The rest sleeps; nothing happens where replicas cannot stand by.",
        low=0.0,
        high=1.0,
        optional=True,
    )
    variant_fraction: Float64Array | None = quantity(
        "NP",
        "",
        "Share of a pool's replicas, its first ones, that should serve the variant of its model; rounded as "
        "`awake_fraction`. Who has the other model loaded finishes what it has and loads anew; nothing happens where "
        "pools have no variant.",
        low=0.0,
        high=1.0,
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
        sizes = {"N": num_envs, "K": route_share.shape[0], "P": route_share.shape[1]}
        others = {
            declared.name: np.full(declared.shape(sizes), declared.neutral)
            for declared in quantities_of(cls)
            if not declared.optional
        }
        shares = np.array(np.broadcast_to(route_share, others["route_share"].shape), np.float64)
        return cls(**{**others, "route_share": shares})

    def __getitem__(self, index: int) -> Controls:
        """The controls of fleet `index` alone.

        Raises:
            IndexError: there is no such fleet.
        """
        if not 0 <= index < self.num_envs:
            raise IndexError(f"controls: are of fleets 0 to {self.num_envs - 1} (got {index})")
        return Controls(**{name: values[index : index + 1] for name, values in self.given().items()})

    def complete(self, sizes: Mapping[str, int]) -> Controls:
        """The given controls, and neutral values for those left out; `sizes` gives the length of each axis letter."""
        return Controls(**{**neutral_arrays(Controls, {"N": self.num_envs, **sizes}), **self.given()})

    def given(self) -> dict[str, Float64Array]:
        """The arrays by name, without what was left out."""
        return {name: values for name, values in vars(self).items() if values is not None}

    @classmethod
    def stack(cls, parts: Sequence[Controls]) -> Controls:
        """The controls of several batches, one after the other; a control that every part leaves out stays so."""
        columns: dict[str, Any] = {}
        for declared in quantities_of(cls):
            given = [(len(part.route_share), getattr(part, declared.name)) for part in parts]
            like = next((values for _, values in given if values is not None), None)
            if like is not None:
                filled = [
                    np.full((n, *like.shape[1:]), declared.neutral) if values is None else values for n, values in given
                ]
                columns[declared.name] = np.concatenate(filled)
        return cls(**columns)
