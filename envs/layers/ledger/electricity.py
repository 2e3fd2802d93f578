"""What electricity costs and emits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

JOULES_PER_MWH = 3.6e9
JOULES_PER_KWH = 3.6e6


def energy_cost_usd(energy_j: Float64Array, price_usd_per_mwh: Float64Array) -> Float64Array:
    """Electricity bill, of any shape [USD].

    >>> energy_cost_usd(np.array([3.6e9]), np.array([60.0])).tolist()
    [60.0]
    """
    return energy_j * price_usd_per_mwh / JOULES_PER_MWH


def emissions_g(energy_j: Float64Array, carbon_g_per_kwh: Float64Array) -> Float64Array:
    """Emissions of the electricity used, of any shape [g CO2e]."""
    return energy_j * carbon_g_per_kwh / JOULES_PER_KWH
