"""The ledger: dollars, joules and grams of one tick, from what happened in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

JOULES_PER_MWH = 3.6e9
JOULES_PER_KWH = 3.6e6
TOKENS_PER_MILLION = 1e6


def token_value_usd(
    prompt_tokens: Float64Array,
    output_tokens: Float64Array,
    usd_per_input_token: Float64Array,
    usd_per_output_token: Float64Array,
) -> Float64Array:
    """List price of tokens, elementwise [USD]."""
    return prompt_tokens * usd_per_input_token + output_tokens * usd_per_output_token


def energy_cost_usd(energy_j: Float64Array, price_usd_per_mwh: Float64Array) -> Float64Array:
    """Electricity bill [USD].

    >>> energy_cost_usd(np.array([3.6e9]), np.array([60.0])).tolist()
    [60.0]
    """
    return energy_j * price_usd_per_mwh / JOULES_PER_MWH


def emissions_g(energy_j: Float64Array, carbon_g_per_kwh: Float64Array) -> Float64Array:
    """Emissions of the electricity used [g CO2e]."""
    return energy_j * carbon_g_per_kwh / JOULES_PER_KWH
