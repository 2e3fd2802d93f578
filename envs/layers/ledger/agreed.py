"""Dollars that engines count, because agreements or posted prices fix the payment: one table.

Terms of the reward, sums of metrics and entries of the ledger all come from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


class Agreed(NamedTuple):
    """An outcome in dollars.

    Attributes:
        outcome: its name.
        sign: 1 where the fleet is paid, -1 where it pays.
        term: term of the reward in which it counts.
        layer, item: its entry in the ledger.
    """

    outcome: str
    sign: float
    term: str
    layer: str
    item: str


AGREED = (
    Agreed("demand_charge_usd", -1.0, "power_charge_usd", "power", "charge for the highest window"),
    Agreed("ramp_charge_usd", -1.0, "power_charge_usd", "power", "charge for ramps"),
    Agreed("availability_usd", 1.0, "demand_response_usd", "power", "availability payment"),
    Agreed("activation_usd", 1.0, "demand_response_usd", "power", "activation payment"),
    Agreed("damages_usd", -1.0, "demand_response_usd", "power", "liquidated damages"),
    Agreed("rebound_usd", -1.0, "demand_response_usd", "power", "charge for rebound"),
    Agreed("regulation_usd", 1.0, "regulation_usd", "power", "payment for regulation"),
    Agreed("training_usd", 1.0, "training_usd", "gpu", "work of training jobs"),
    Agreed("credit_usd", -1.0, "service_credit_usd", "agents", "service credits"),
    Agreed("quality_loss_usd", -1.0, "quality_loss_usd", "agents", "variants' answers worth less"),
)
"""Every such outcome."""


def agreed_usd(total: Callable[[str], Float64Array]) -> Float64Array:
    """Payments of agreements less their costs, from the sum of each outcome [USD]."""
    return sum((one.sign * total(one.outcome) for one in AGREED[1:]), start=AGREED[0].sign * total(AGREED[0].outcome))
