"""On-site solar: what panels give at an irradiance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.series.signals import IrradianceSignal
from tokenfleet.envs.spec import PositiveFloat, PositiveFraction, Spec

Float64Array = NDArray[np.float64]

STANDARD_IRRADIANCE_W_PER_M2 = 1000.0
"""Irradiance of the standard test conditions at which panels are rated (IEC 60904)."""


class SolarSpec(Spec):
    """Panels beside the data centre, lying flat.

    Power is the rating times irradiance over 1,000 W/m2 times the performance ratio, at most the rating: no tilt, no
    tracking, and the panels' own heat inside the ratio.

    Attributes:
        peak_w: rating of the panels [W].
        performance_ratio: power at the busbar over the rated power; 0.8 is an assumption (PVWatts takes 14 % of losses
            and an inverter of 96 %, which leaves 0.83 before heat).
        irradiance_w_per_m2: on a horizontal plane.
    """

    peak_w: PositiveFloat
    performance_ratio: PositiveFraction = 0.8
    irradiance_w_per_m2: IrradianceSignal

    def power_w(self, irradiance_w_per_m2: float | Float64Array) -> float | Float64Array:
        """Power at an irradiance, of any shape [W].

        >>> SolarSpec(peak_w=1e6, irradiance_w_per_m2=0.0).power_w(np.array([0.0, 500.0, 2000.0])).tolist()
        [0.0, 400000.0, 1000000.0]
        """
        share = self.performance_ratio * irradiance_w_per_m2 / STANDARD_IRRADIANCE_W_PER_M2
        return self.peak_w * np.minimum(share, 1.0)
