"""What calls cost: the price factor that each is quoted, its list price, and what sessions have paid."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.traces import RequestTable


class Billing:
    """The prices of one environment."""

    def __init__(self, arrays: FleetArrays, table: RequestTable) -> None:
        """Begin with list prices and nothing paid."""
        self.arrays = arrays
        self.table = table
        self.factor = [1.0] * arrays.num_classes
        self._quoted = [1.0] * len(table)
        self._paid_usd: defaultdict[int, float] = defaultdict(float)
        self.set_prices(np.ones(arrays.num_classes))

    def set_prices(self, token_price_factor: np.ndarray) -> None:
        """Factors on the list price, `[K]`, for the calls of a tick."""
        a = self.arrays
        for k in range(a.num_classes):
            self.factor[k] = min(
                max(float(token_price_factor[k]), float(a.lowest_price_factor[k])), float(a.highest_price_factor[k])
            )

    def quote(self, request: Request) -> bool:
        """Tell a client the price of the call that it makes now; whether it accepts."""
        factor = self.factor[request.class_id]
        self._quoted[request.index] = factor
        return factor <= float(self.table.price_tolerance[request.index])

    def value_usd(self, request: Request, hit_tokens: int) -> float:
        """Price of a request, as it was quoted, with so many prompt tokens found in the prefix cache."""
        a, k = self.arrays, request.class_id
        fresh = request.prompt_tokens - hit_tokens
        input_usd = (fresh + hit_tokens * float(a.cached_input_fraction_of_price[k])) * float(a.usd_per_input_token[k])
        output_usd = request.output_tokens * float(a.usd_per_output_token[k])
        return (input_usd + output_usd) * self._quoted[request.index]

    def pay(self, request: Request, usd: float) -> bool:
        """A session pays for a call; whether that has used up its budget."""
        session = int(self.table.session_id[request.index])
        if session < 0:
            return False
        self._paid_usd[session] += usd
        return self._paid_usd[session] >= float(self.arrays.session_budget_usd[request.class_id])
