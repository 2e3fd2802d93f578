"""What a tick was worth: named terms in dollars, weighted and summed in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fields import OUTCOMES
from tokenfleet.envs.layers.ledger import AGREED, energy_cost_usd
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes

Float64Array = NDArray[np.float64]

VALUE_OF_LOST_LOAD_USD_PER_MWH = 10_000.0
"""Assumption, of the order that grid operators put on energy they cannot deliver."""
ENDINGS = ("in_slo", "late", "lost")
"""How a request can end that somebody pays for, as `fields.OUTCOMES` names it."""


class Reward(Protocol):
    """What the environments ask of a reward; bring your own to value a tick differently.

    A reward sees what happened, never the environment, and keeps no state between ticks. An attribute `reward_scale` is
    the divisor of the weighted terms: 1 where they are already scaled, `"reference_revenue"` (the default) for the
    revenue of a tick with every request served within its SLO.
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
    """The default reward: what a fleet earns, less what it pays.

    - `token_revenue_usd`: price of requests completed within their SLO.
    - `late_revenue_usd`: `late_value_fraction` of the price of those completed outside it.
    - `lost_penalty_usd`: minus `lost_penalty_fraction` of the price of those refused or expired.
    - `energy_usd`: minus the electricity bill, a price of carbon and peak hours included.
    - `power_charge_usd`, where a tariff has such charges: minus those for the highest window and for ramps.
    - `regulation_usd`, where a site regulates frequency: paid for following the signal.
    - `service_credit_usd`, where a class has an agreement: minus what it gets back.
    - `quality_loss_usd`, where pools have a variant: minus what its answers are worth less.
    - `demand_response_usd`, where a site is in a programme: paid for reduction, less damages and rebound.
    - `training_usd`, where a site trains: earned by training jobs, less what was earned for lost work.

    The price of a request is the list price of its tokens, with cached ones at their own price, times the factor in
    force when the request was made. A request counts in full in the tick in which it ends. A client that declines the
    price owes nothing and is owed nothing.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Read prices and shares from `scenario`."""
        layout = Layout(OUTCOMES, axis_sizes(scenario))
        self._energy_j = layout.slice("energy_j")
        self._value_usd = layout.columns(*(f"value_{ending}_usd" for ending in ENDINGS))
        self._paid_share = _paid_share(scenario).ravel()
        self._agreed = _agreed(layout)

    def __call__(self, outcome: Record, price_usd_per_mwh: Float64Array) -> dict[str, Float64Array]:
        """See `Reward.__call__`; USD."""
        in_slo, late, lost = self.token_terms_usd(outcome).T
        bill = energy_cost_usd(outcome.rows[:, self._energy_j], price_usd_per_mwh)
        return {
            "token_revenue_usd": in_slo,
            "late_revenue_usd": late,
            "lost_penalty_usd": lost,
            "energy_usd": -np.add.reduce(bill, axis=1),
            **{
                term: np.add.reduce(outcome.rows.take(columns, axis=1) * sign, axis=1)
                for term, (columns, sign) in self._agreed.items()
            },
        }

    def token_terms_usd(self, outcome: Record) -> Float64Array:
        """`[N, 3]`: earned within the SLO, earned late, and owed (negative) for what was lost [USD]."""
        value = outcome.rows.take(self._value_usd, axis=1) * self._paid_share
        paid: Float64Array = np.add.reduce(value.reshape(len(value), len(ENDINGS), -1), axis=2)
        return paid


class CertainValue(NetValue):
    """`NetValue`, with the cost of lateness booked in the tick in which it becomes certain: a reward to train on.

    `NetValue` pays less for a late answer when that completes, seconds or minutes after its cause. This reward adds

    - `overdue_usd`: minus `1 - late_value_fraction` of the price of a request, when the request becomes overdue (see
      `tokenfleet.envs.engine.reference.overdue`). The same amount comes back when the request ends, however it does,
      and when the episode ends.

    So an overdue answer pays its whole price when it completes, and being late is charged when it happens. Over an
    episode `overdue_usd` adds up to zero: the return is that of `NetValue`. Only the loss of an answer that is written
    too slowly is charged when the answer completes.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._change_usd = Layout(OUTCOMES, axis_sizes(scenario)).slice("overdue_change_usd")
        self._taken_off = np.array([1.0 - cls.late_value_fraction for cls in scenario.classes.values()])

    def __call__(self, outcome: Record, price_usd_per_mwh: Float64Array) -> dict[str, Float64Array]:
        """See `Reward.__call__`; USD."""
        overdue = outcome.rows[:, self._change_usd] * self._taken_off
        return {**super().__call__(outcome, price_usd_per_mwh), "overdue_usd": -np.add.reduce(overdue, axis=1)}


class CapAwareNetValue(CertainValue):
    """`CertainValue`, and at once what standing above a cap may cost later: the default of training.

    The brake makes a fleet pay for broken caps, but seconds afterwards and mixed with everything else. This reward adds

    - `over_cap_usd`: minus the metered energy above the caps of sites and rows that a brake enforces, at the value of
      lost load.

    Calls that no brake enforces have a price already. So a broken cap counts in the tick in which it happens.
    Evaluation states net value without this term.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._tick_s = scenario.tick_s

    def __call__(self, outcome: Record, price_usd_per_mwh: Float64Array) -> dict[str, Float64Array]:
        """See `Reward.__call__`; USD."""
        over_cap_w = outcome["over_cap_w"].sum(axis=1) + outcome["row_over_cap_w"].sum(axis=1)
        over_cap_w = over_cap_w - outcome["unbraked_over_cap_w"].sum(axis=1)
        over_cap_j = over_cap_w[:, None] * self._tick_s
        charge = energy_cost_usd(over_cap_j, np.array(VALUE_OF_LOST_LOAD_USD_PER_MWH))
        return {**super().__call__(outcome, price_usd_per_mwh), "over_cap_usd": -charge[:, 0]}


def settle_overdue(outcome: Record, ended: NDArray[np.bool_]) -> None:
    """Clear what is overdue in fleets whose episode has ended, `[N]`: nobody pays for requests under way at the end.

    Args:
        outcome: of the last tick; changed in place.
        ended: which fleets end with it.
    """
    if ended.any():
        outcome["overdue_change_usd"][ended] -= outcome["overdue_usd"][ended]
        outcome["overdue_usd"][ended] = 0.0


def weighted_reward(terms: Mapping[str, Float64Array], weights: Mapping[str, float], scale: float) -> Float64Array:
    """The scalar reward `[N]`: the weighted sum of the terms over `scale`.

    Args:
        terms: from a `Reward`.
        weights: by name of term; 1 where a name is missing.
        scale: divisor in the unit of the terms, from `arguments.checked_scale`.
    """
    weighted = [value * weights[name] if name in weights else value for name, value in terms.items()]
    total: Float64Array = sum(weighted[1:], start=weighted[0])
    return total / scale


def _agreed(layout: Layout) -> dict[str, tuple[NDArray[np.intp], Float64Array]]:
    """Columns and signs of each term of `AGREED` that the fleet has."""
    terms: dict[str, tuple[NDArray[np.intp], Float64Array]] = {}
    for term in dict.fromkeys(one.term for one in AGREED):
        columns = [(layout.columns(one.outcome), one.sign) for one in AGREED if one.term == term]
        places = np.concatenate([some for some, _ in columns])
        if len(places):
            terms[term] = places, np.concatenate([np.full(len(some), sign) for some, sign in columns])
    return terms


def _paid_share(scenario: Scenario) -> Float64Array:
    """What share of a request's price is paid, by how it ended, `[3, K]`; negative where it is owed."""
    classes = scenario.classes.values()
    return np.array(
        [
            [1.0 for _ in classes],
            [cls.late_value_fraction for cls in classes],
            [-cls.lost_penalty_fraction for cls in classes],
        ]
    )
