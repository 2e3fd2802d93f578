"""What an episode draws anew because nobody knows it well."""

from __future__ import annotations

from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, Spec, UnitFraction


class UncertaintySpec(Spec):
    """Physics that nobody knows well, drawn anew for every episode.

    Each is uniform between two bounds, one draw for the whole fleet; without bounds nothing is drawn. The draws do not
    change nameplates.

    Attributes:
        decode_memory_fraction: bounds of the share of decode time that does not scale with the clock; published values
            reach from 0.7 to 0.99. Without bounds every profile keeps its own value.
        pue_factor: bounds of a factor on all that the facilities draw beyond IT power.
        host_power_factor: bounds of a factor on what the servers draw besides their boards.
    """

    decode_memory_fraction: tuple[UnitFraction, UnitFraction] | None = None
    pue_factor: tuple[PositiveFloat, PositiveFloat] | None = None
    host_power_factor: tuple[PositiveFloat, PositiveFloat] | None = None

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        for name in type(self).model_fields:
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{name}: the lower bound {bounds[0]} is above the upper {bounds[1]}")
        return self
