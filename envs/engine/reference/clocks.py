"""The clock of every pool, and what an iteration takes at it with each model that its replicas can load."""

from __future__ import annotations

from dataclasses import replace

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.gpu import memory_fraction_under
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
        self._sensitivity_factor = [1.0] * arrays.num_pools
        self._physics = [self._physics_at(p) for p in range(arrays.num_pools)]

    def set(self, p: int, clock: float, sensitivity_factor: float) -> None:
        """Pool `p` runs at this clock from now on, and decode time answers to it with this factor."""
        if (clock, sensitivity_factor) != (self.fraction[p], self._sensitivity_factor[p]):
            self.fraction[p], self._sensitivity_factor[p] = clock, sensitivity_factor
            self._physics[p] = self._physics_at(p)

    def physics(self, p: int, on_variant: bool) -> Physics:
        """What an iteration takes now in pool `p`, with its own model or with its variant."""
        return self._physics[p][on_variant]

    def _physics_at(self, p: int) -> tuple[Physics, ...]:
        measured = [coefficients.replica(p) for coefficients in self.coefficients[: 1 + self.has_variant[p]]]
        fractions = [memory_fraction_under(m.decode_memory_fraction, self._sensitivity_factor[p]) for m in measured]
        models = [replace(m, decode_memory_fraction=x) for m, x in zip(measured, fractions, strict=True)]
        return tuple(model.at_clock(self.fraction[p]) for model in models)
