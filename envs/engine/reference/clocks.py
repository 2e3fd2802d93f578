"""The clock of every pool, and what an iteration takes at it with each model that its replicas can load."""

from __future__ import annotations

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.llm.coefficients import Physics


class Clocks:
    """The clocks of one environment.

    Attributes:
        fraction: in force in each pool.
    """

    def __init__(self, arrays: FleetArrays, episode: Episode) -> None:
        """Begin at full clock."""
        self.has_variant = [bool(place >= 0) for place in arrays.variant]
        own, variant = episode.decode_memory_fraction, episode.variant_memory_fraction
        self.coefficients = (arrays.coefficients(own), arrays.switched_coefficients(own, variant))
        self.fraction = [1.0] * arrays.num_pools
        self._physics = [self._physics_at(p, 1.0) for p in range(arrays.num_pools)]

    def set(self, p: int, clock: float) -> None:
        """Pool `p` runs at another clock from now on."""
        if clock != self.fraction[p]:
            self.fraction[p] = clock
            self._physics[p] = self._physics_at(p, clock)

    def physics(self, p: int, on_variant: bool) -> Physics:
        """What an iteration takes now in pool `p`, with its own model or with its variant."""
        return self._physics[p][on_variant]

    def _physics_at(self, p: int, clock: float) -> tuple[Physics, ...]:
        models = self.coefficients[: 1 + self.has_variant[p]]
        return tuple(coefficients.replica(p).at_clock(clock) for coefficients in models)
