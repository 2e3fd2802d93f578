"""Columns of power nodes, `[D]`: meter, brake and breaker of the grid connections of all sites, then of all rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.ticks import MANY, whole_ticks
from tokenfleet.envs.layers.power import BrakeSpec, BreakerSpec, ProtectionSpec, heat_to_trip_s
from tokenfleet.envs.quantities import quantity

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class NodeSource:
    """What the columns of one power node are read from."""

    spec: ProtectionSpec
    tick_s: float

    @property
    def brake(self) -> BrakeSpec:
        """Of the node."""
        return self.spec.brake

    @property
    def breaker(self) -> BreakerSpec:
        """Of the node."""
        return self.spec.breaker


@dataclass(frozen=True)
class NodeColumns:
    """What watches a cap."""

    meter_window_ticks: Int64Array = quantity(
        "D",
        "ticks",
        "Over which the meter averages.",
        lambda n: max(whole_ticks(n.spec.meter_window_s, n.tick_s), 1),
        low=1,
        high=MANY,
        neutral=1,
    )
    control_lag_ticks: Int64Array = quantity(
        "D",
        "ticks",
        "From a decision of the brake to the clocks.",
        lambda n: whole_ticks(n.brake.control_lag_s, n.tick_s),
        low=0,
        high=MANY,
    )
    brake_delay_s: Float64Array = quantity(
        "D", "s", "Above the cap, until the brake acts.", lambda n: n.brake.delay_s, neutral=10.0
    )
    brake_clock_fraction: Float64Array = quantity(
        "D", "", "Highest clock under the brake.", lambda n: n.brake.clock_fraction, neutral=0.2
    )
    recovery_ratio: Float64Array = quantity(
        "D",
        "s/s",
        "Of the delay earned back in a second below the cap.",
        lambda n: n.brake.recovery_ratio,
        neutral=0.1,
    )
    release_fraction: Float64Array = quantity(
        "D", "", "Load over cap below which the brake lets go.", lambda n: n.brake.release_fraction, neutral=0.9
    )
    release_delay_s: Float64Array = quantity(
        "D", "s", "Below that, until the brake lets go.", lambda n: n.brake.release_delay_s, neutral=5.0
    )
    pickup_ratio: Float64Array = quantity(
        "D",
        "",
        "Load over cap at and below which the breaker does not heat.",
        lambda n: n.breaker.pickup_ratio,
        neutral=1.0,
    )
    trip_exponent: Float64Array = quantity(
        "D", "", "Of the breaker's curve.", lambda n: n.breaker.curve_exponent, neutral=1.0
    )
    trip_heat_s: Float64Array = quantity(
        "D",
        "s",
        "Trip time times ((load / pickup)^exponent - 1), the same at every load.",
        lambda n: heat_to_trip_s(n.breaker),
        neutral=1e9,
    )
    cooling_s: Float64Array = quantity(
        "D", "s", "From the brink of a trip to cold.", lambda n: n.breaker.cooling_s, neutral=1e9
    )
    restart_s: Float64Array = quantity(
        "D", "s", "From a trip to the first boot.", lambda n: n.breaker.restart_s, neutral=60.0
    )
