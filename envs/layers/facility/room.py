"""The air around servers: how warm it gets, how fast, and what happens then."""

from __future__ import annotations

from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, Spec


class RoomSpec(Spec):
    """Air at the inlets of the servers, which follows load and weather with first-order inertia.

    The temperature tends to

        supply_c + max(outdoor - design_outdoor, 0) + rise_k * (IT power / IT nameplate)

    with `time_constant_s`, exactly so over a tick of constant load. Up to the site's design temperature the plant holds
    the supply; each degree beyond warms the supply by a degree. `rise_k` is how much the servers' exhaust warms their
    inlets at full load. Above `limit_c` boards protect themselves: no clock of the site exceeds
    `derate_clock_fraction` until the air is `hysteresis_k` cooler.

    The limit is the highest inlet temperature that ASHRAE TC 9.9 allows servers of class A1 (32 C; it recommends 18 to
    27 C, hence the supply). The other numbers are assumptions: a room that has lost its cooling gains several degrees
    within minutes.

    Attributes:
        supply_c: set-point of the supply air [C].
        rise_k: recirculation at full load [K].
        time_constant_s: time in which the air covers all but 1/e of the way to its steady temperature [s].
        limit_c: air temperature above which clocks are derated [C].
        hysteresis_k: how far below the limit the air must cool for derating to end [K].
        derate_clock_fraction: highest clock fraction while derated.
    """

    supply_c: float = 24.0
    rise_k: NonNegativeFloat = 6.0
    time_constant_s: PositiveFloat = 600.0
    limit_c: float = 32.0
    hysteresis_k: NonNegativeFloat = 2.0
    derate_clock_fraction: PositiveFraction = 0.6

    @model_validator(mode="after")
    def _an_empty_room_can_leave_derating(self) -> Self:
        if self.limit_c - self.hysteresis_k <= self.supply_c:
            raise ValueError(
                f"limit_c ({self.limit_c}) less hysteresis_k ({self.hysteresis_k}) must be above supply_c "
                f"({self.supply_c}): else the room never cools enough to leave derating"
            )
        return self


def steady_room_c(room: RoomSpec, excess_k: float, load_fraction: float) -> float:
    """Where the air settles under a constant load [C].

    >>> steady_room_c(RoomSpec(), excess_k=2.0, load_fraction=0.5)
    29.0

    Args:
        room: the room.
        excess_k: how far the outdoors is above the site's design temperature [K], at least 0.
        load_fraction: IT power over its nameplate.
    """
    return room.supply_c + excess_k + room.rise_k * load_fraction
