"""Meter, power brake and breaker: what watches a cap, at the grid connection and in every row."""

from __future__ import annotations

import math

from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    Spec,
    UnitFraction,
)


class BrakeSpec(Spec):
    """Power brake: no clock under it exceeds `clock_fraction`.

    A site cannot stay above its cap by dipping under it now and then: time above the cap adds up, and is earned back
    slowly below the cap. When a brake is released, all of the time counts as earned back. The release level and its
    delay are assumptions: they give the hysteresis that an operator needs to leave the brake without bouncing.

    Attributes:
        delay_s: time above the cap after which the brake acts; the 10 s that a UPS tolerates [s].
        clock_fraction: highest clock under the brake; the 288 of 1410 MHz to which the hardware brake of an A100 drops
            (POLCA, arXiv 2308.12908).
        recovery_ratio: seconds of the delay that are earned back in a second below the cap; a UPS recharges about ten
            times as slowly as it discharges (assumption).
        release_fraction: load over cap below which the brake is released.
        release_delay_s: time below this level after which the brake is released [s].
        control_lag_s: between a decision to brake, or to release, and the clocks that follow it, in whole ticks rounded
            up [s]. The brake line of a board acts at once; out of band, through the baseboard controller, it takes
            POLCA tens of seconds (5 s for the brake, up to 40 s for a clock).
    """

    delay_s: NonNegativeFloat = 10.0
    clock_fraction: PositiveFraction = 0.2
    recovery_ratio: UnitFraction = 0.1
    release_fraction: PositiveFraction = 0.9
    release_delay_s: NonNegativeFloat = 5.0
    control_lag_s: NonNegativeFloat = 0.0


class BreakerSpec(Spec):
    """Breaker: everything behind it goes dark when it has carried too much for too long.

    How long it carries an overload follows the inverse-time curve of IEC 60255-151,

        trip_time(r) = delay_s * ((overload_ratio / pickup_ratio)^a - 1) / ((r / pickup_ratio)^a - 1),

    with r the load over the cap and a = 2 (*extremely inverse*, heating by the square of the current; 1 is *very
    inverse*). The curve goes through one point of a data sheet: a UPS carries 125 % of its rating for 30 s to 10 min
    (vendors' overload curves), and the shortest is the default. With a pickup of 1.1 such a UPS carries 150 % for 10 s,
    as the shortest data sheets say; at or below the pickup it carries for ever. A tick at r uses up
    `tick_s / trip_time(r)` of it; at 1 it trips. Below the cap it cools, from the brink to cold in `cooling_s`: the
    timer of a UPS starts anew soon after the load has come back.

    What a grid connection can carry is its contract less the emergencies. Demand response is a promise to draw less:
    the brake keeps the promise, and breaking it heats no breaker.

    Attributes:
        overload_ratio: load over the cap at the point that the data sheet states.
        delay_s: how long the breaker carries this load [s].
        pickup_ratio: load over the cap that the breaker carries for ever.
        curve_exponent: a of the curve.
        cooling_s: from the brink of a trip to cold; assumption [s].
        restart_s: from a trip until servers may boot; assumption [s].
    """

    overload_ratio: PositiveFloat = 1.25
    delay_s: PositiveFloat = 30.0
    pickup_ratio: PositiveFloat = 1.1
    curve_exponent: PositiveFloat = 2.0
    cooling_s: PositiveFloat = 10.0
    restart_s: NonNegativeFloat = 120.0

    @model_validator(mode="after")
    def _anchor_lies_above_pickup(self) -> Self:
        if self.overload_ratio <= self.pickup_ratio:
            raise ValueError(
                f"overload_ratio ({self.overload_ratio}) must be above pickup_ratio ({self.pickup_ratio}), "
                "at and below which the breaker never trips"
            )
        return self


class ProtectionSpec(Spec):
    """What watches one cap.

    Attributes:
        meter_window_s: time over which its meter averages, in whole ticks rounded up; one tick at the least [s].
        brake: what holds clocks down; it follows the meter.
        breaker: what makes everything dark; it heats with the power of every tick.
    """

    meter_window_s: NonNegativeFloat = 0.0
    brake: BrakeSpec = BrakeSpec()
    breaker: BreakerSpec = BreakerSpec()


def trip_time_s(breaker: BreakerSpec, load_ratio: float) -> float:
    """How long a cold breaker carries a constant load of `load_ratio` times its cap [s].

    >>> ups = BreakerSpec(overload_ratio=1.25, delay_s=30.0, pickup_ratio=1.0)
    >>> [round(trip_time_s(ups, ratio), 1) for ratio in (1.0, 1.1, 1.25, 1.5, 2.0)]
    [inf, 80.4, 30.0, 13.5, 5.6]
    """
    if load_ratio <= breaker.pickup_ratio:
        return float("inf")
    return heat_to_trip_s(breaker) / (math.pow(load_ratio / breaker.pickup_ratio, breaker.curve_exponent) - 1.0)


def heat_to_trip_s(breaker: BreakerSpec) -> float:
    """`trip_time(r) * ((r / pickup_ratio)^a - 1)`, the same at every load [s]."""
    return breaker.delay_s * (math.pow(breaker.overload_ratio / breaker.pickup_ratio, breaker.curve_exponent) - 1.0)
