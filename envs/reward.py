"""What a tick was worth: named terms in dollars, weighted and summed in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.axes import axis_sizes
from tokenfleet.envs.fields import OUTCOMES, Layout, Record
from tokenfleet.envs.layers.ledger import energy_cost_usd, token_value_usd
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

TOKENS_PER_MILLION = 1e6


class Reward(Protocol):
    """What the environments ask of a reward; bring your own to value a tick differently.

    A reward sees what happened, never the environment, and keeps no state between ticks.
    """

    def __call__(self, outcome: Record, price_usd_per_mwh: Float64Array) -> dict[str, Float64Array]:
        """Terms of one tick.

        Args:
            outcome: rows of `fields.OUTCOMES`, for N fleets.
            price_usd_per_mwh: electricity price of the tick, `[N, S]`.

        Returns:
            Name of a term -> `[N]`; the default's are in USD. The same names at every call.
        """


class NetValue:
    """The default reward: what the tokens earn, less the electricity they cost.

    - `token_revenue_usd`: list price of requests completed within their SLO.
    - `late_revenue_usd`: `late_value_fraction` of the price of those completed outside it.
    - `lost_penalty_usd`: minus `lost_penalty_fraction` of the price of those refused or expired.
    - `energy_usd`: minus the electricity bill.

    A request counts in full in the tick in which it ends.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Read prices and shares from `scenario`."""
        classes = list(scenario.classes.values())
        self._input_usd = np.array([cls.usd_per_million_input_tokens for cls in classes]) / TOKENS_PER_MILLION
        self._output_usd = np.array([cls.usd_per_million_output_tokens for cls in classes]) / TOKENS_PER_MILLION
        self._paid_share = np.array(
            [
                [1.0 for _ in classes],
                [cls.late_value_fraction for cls in classes],
                [-cls.lost_penalty_fraction for cls in classes],
            ]
        )
        layout = Layout(OUTCOMES, axis_sizes(scenario))
        self._energy_j = layout.slice("energy_j")
        self._tokens = _token_columns(layout)

    def __call__(self, outcome: Record, price_usd_per_mwh: Float64Array) -> dict[str, Float64Array]:
        """See `Reward.__call__`; USD."""
        in_slo, late, lost = self.token_terms_usd(outcome).T
        bill = energy_cost_usd(outcome.rows[:, self._energy_j], price_usd_per_mwh)
        return {
            "token_revenue_usd": in_slo,
            "late_revenue_usd": late,
            "lost_penalty_usd": lost,
            "energy_usd": -bill.sum(axis=1),
        }

    def token_terms_usd(self, outcome: Record) -> Float64Array:
        """`[N, 3]`: earned within the SLO, earned late, and owed (negative) for what was lost [USD]."""
        tokens = outcome.rows[:, self._tokens]
        value = token_value_usd(tokens[:, 0], tokens[:, 1], self._input_usd, self._output_usd)
        value *= self._paid_share
        paid: Float64Array = value.sum(axis=2)
        return paid


def weighted_reward(
    terms: Mapping[str, Float64Array], weights: Mapping[str, float], reference_usd: float
) -> Float64Array:
    """The scalar reward `[N]`: the weighted sum of the terms over `reference_usd`.

    Args:
        terms: from a `Reward`.
        weights: by name of term; 1 where a name is missing.
        reference_usd: what a tick earns if every request is served within its SLO.
    """
    total = np.zeros(())
    for name, value in terms.items():
        total = total + value * weights.get(name, 1.0)
    return total / reference_usd


def _token_columns(layout: Layout) -> NDArray[np.intp]:
    """Outcome columns `[2, 3, K]`: prompt and output tokens of requests in SLO, late and lost."""
    columns = np.arange(layout.width)
    return np.stack(
        [
            np.stack([columns[layout.slice(f"{kind}_tokens_{ending}")] for ending in ("in_slo", "late", "lost")])
            for kind in ("prompt", "output")
        ]
    )
