"""What it takes to carry the heat away: power usage effectiveness (PUE) from outdoor temperature and load.

With IT power P, its nameplate P_n and the outdoor temperature T,

    facility = P (1 + conversion + circulation + m(T) / COP(T)) + fixed * P_n
    m(T)     = 0 below `free_below_c`, 1 above `mechanical_above_c`, in proportion between
    COP(T)   = carnot_fraction * T_cold / (T + approach_k - chilled_c),   T_cold = chilled_c + 273.15.

Below `free_below_c` the outdoors chills the water alone (a water-side economiser); above `mechanical_above_c` chillers
do all of it. The COP of a chiller is a share of the Carnot COP between the chilled water and the condenser, which
stands `approach_k` above the outdoors. The fixed part makes PUE rise as load falls. A site's own design temperature
bounds T (`tokenfleet.envs.layers.facility.hall`): beyond it the plant runs at its rating and the room gets warmer
instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, PositiveFraction, Spec, UnitFraction

Float64Array = NDArray[np.float64]

KELVIN_AT_0_C = 273.15


class CoolingSpec(Spec):
    """A water-cooled plant with free cooling; see the module for its equations.

    The form is thermodynamics, the numbers are assumptions of the usual order: they give a PUE of 1.13 at full load in
    the cold and 1.33 at 35 C. Large operators report 1.1 for a year (Google), the mean of a survey is about 1.6 (Uptime
    Institute, 2023). A scenario can draw what is unknown about a plant for every episode (`uncertainty.pue_factor`).

    Attributes:
        conversion_fraction: lost in UPS, transformers and cables, of IT power.
        circulation_fraction: pumps, air handlers and cooling towers, of IT power.
        fixed_fraction: constant power of lights, controls and no-load losses, as a share of the IT nameplate.
        chilled_c: temperature of the water that chillers supply [C].
        approach_k: how far the condenser stands above the outdoors [K].
        carnot_fraction: COP of the chillers over that of an ideal one.
        free_below_c: outdoor temperature up to which chillers rest [C].
        mechanical_above_c: outdoor temperature from which they carry all heat [C].
    """

    conversion_fraction: UnitFraction = 0.06
    circulation_fraction: UnitFraction = 0.05
    fixed_fraction: UnitFraction = 0.02
    chilled_c: float = 18.0
    approach_k: PositiveFloat = 12.0
    carnot_fraction: PositiveFraction = 0.5
    free_below_c: float = 8.0
    mechanical_above_c: float = 18.0

    @model_validator(mode="after")
    def _temperatures_are_ordered(self) -> Self:
        if self.mechanical_above_c <= self.free_below_c:
            raise ValueError(
                f"mechanical_above_c ({self.mechanical_above_c}) must be above free_below_c ({self.free_below_c})"
            )
        if self.free_below_c + self.approach_k <= self.chilled_c:
            raise ValueError(
                f"free_below_c ({self.free_below_c}) + approach_k ({self.approach_k}) must be above chilled_c "
                f"({self.chilled_c}): a chiller that runs must have heat to lift"
            )
        return self


def pue_at(cooling: CoolingSpec, outdoor_c: Float64Array) -> Float64Array:
    """Facility power for each watt of IT power at `outdoor_c` (any shape), without the fixed part.

    >>> pue_at(CoolingSpec(), np.array([0.0, 13.0, 18.0, 35.0])).round(3).tolist()
    [1.11, 1.134, 1.192, 1.309]
    """
    span_k = cooling.mechanical_above_c - cooling.free_below_c
    mechanical = np.clip((outdoor_c - cooling.free_below_c) / span_k, 0.0, 1.0)
    lift_k = np.maximum(outdoor_c, cooling.free_below_c) + cooling.approach_k - cooling.chilled_c
    chiller = mechanical * lift_k / (cooling.carnot_fraction * (cooling.chilled_c + KELVIN_AT_0_C))
    return 1.0 + cooling.conversion_fraction + cooling.circulation_fraction + chiller
