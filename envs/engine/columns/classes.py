"""Columns of request classes, `[K]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.ticks import MANY, whole_ticks
from tokenfleet.envs.layers.agents import MAX_TIERS, AgreementSpec, RequestClassSpec
from tokenfleet.envs.layers.ledger import TOKENS_PER_MILLION
from tokenfleet.envs.quantities import quantity
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import MAX_TOKENS

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassSource:
    """What the columns of one request class are read from."""

    name: str
    spec: RequestClassSpec
    scenario: Scenario

    @property
    def priced(self) -> int:
        """Place among the classes whose price may be set, -1 for another."""
        return place(self.name, list(self.scenario.priced_classes))

    def agreement(self, value: Callable[[AgreementSpec], Any], without: Any) -> Any:
        """A quantity of the class's service agreement."""
        return without if self.spec.agreement is None else value(self.spec.agreement)


def place(name: str, names: list[str]) -> int:
    """Where a name stands in a list, -1 where it does not."""
    return names.index(name) if name in names else -1


def unlimited(limit: float | None) -> float:
    """A limit, infinite where there is none."""
    return np.inf if limit is None else limit


@dataclass(frozen=True)
class ClassColumns:
    """Deadlines, clients and prices."""

    ttft_s: Float64Array = quantity(
        "K", "s", "Limit, infinite without one.", lambda c: unlimited(c.spec.ttft_s), neutral=np.inf
    )
    tpot_s: Float64Array = quantity(
        "K", "s", "Limit, infinite without one.", lambda c: unlimited(c.spec.tpot_s), neutral=np.inf
    )
    deadline_s: Float64Array = quantity(
        "K", "s", "Limit, infinite without one.", lambda c: unlimited(c.spec.deadline_s), neutral=np.inf
    )
    patience_s: Float64Array = quantity(
        "K", "s", "How long a client waits for a first token.", lambda c: unlimited(c.spec.patience_s), neutral=np.inf
    )
    backoff_s: Float64Array = quantity(
        "K", "s", "Wait after the first failed attempt.", lambda c: c.spec.backoff_s, neutral=1.0
    )
    backoff_factor: Float64Array = quantity(
        "K", "", "Growth of the wait with each further one.", lambda c: c.spec.backoff_factor, neutral=2.0
    )
    backoff_jitter: Float64Array = quantity(
        "K", "", "Half width of the wait's relative spread.", lambda c: c.spec.backoff_jitter
    )
    usd_per_input_token: Float64Array = quantity(
        "K", "USD", "List price.", lambda c: c.spec.usd_per_million_input_tokens / TOKENS_PER_MILLION
    )
    usd_per_output_token: Float64Array = quantity(
        "K", "USD", "List price.", lambda c: c.spec.usd_per_million_output_tokens / TOKENS_PER_MILLION
    )
    cached_input_fraction_of_price: Float64Array = quantity(
        "K",
        "",
        "Paid for a prompt token that the prefix cache held.",
        lambda c: c.spec.cached_input_fraction_of_price,
        neutral=1.0,
    )
    late_value_fraction: Float64Array = quantity(
        "K", "", "Share of the price that is paid outside the SLO.", lambda c: c.spec.late_value_fraction
    )
    session_budget_usd: Float64Array = quantity(
        "K",
        "USD",
        "After which a session makes no further call, infinite without one.",
        lambda c: c.spec.session_budget_usd or np.inf,
        neutral=np.inf,
    )
    lowest_price_factor: Float64Array = quantity(
        "K", "", "Lowest token price over the list price.", lambda c: c.spec.token_price_factor.low, neutral=1.0
    )
    highest_price_factor: Float64Array = quantity(
        "K", "", "Highest token price over the list price.", lambda c: c.spec.token_price_factor.high, neutral=1.0
    )
    output_weight: Int64Array = quantity(
        "K",
        "tokens",
        "By which the router weighs an unfinished request.",
        lambda c: c.spec.expected_output_tokens,
        neutral=1,
        low=0,
        high=MAX_TOKENS,
    )
    max_attempts: Int64Array = quantity(
        "K", "", "Attempts of a client in all.", lambda c: c.spec.max_attempts, neutral=1
    )
    priced: Int64Array = quantity(
        "K",
        "",
        "Place among the classes whose price may be set, -1 for another.",
        lambda c: c.priced,
        low=-1,
        index_of="T",
        neutral=-1,
    )
    priority: Int64Array = quantity(
        "K",
        "",
        "Who has a higher one waits in front, where pools rank classes.",
        lambda c: c.spec.priority,
        low=0,
        high=MANY,
    )
    deferrable: BoolArray = quantity("K", "", "May be held back.", lambda c: c.spec.deferrable)
    agreement: Int64Array = quantity(
        "K",
        "",
        "Place among the classes with a service agreement, -1 for another.",
        lambda c: place(c.name, list(c.scenario.agreements)),
        low=-1,
        index_of="Q",
        neutral=-1,
    )
    agreement_window_ticks: Int64Array = quantity(
        "K",
        "ticks",
        "Of a window of the agreement.",
        lambda c: c.agreement(lambda a: max(whole_ticks(a.window_s, c.scenario.tick_s), 1), 1),
        low=1,
        high=MANY,
        neutral=1,
    )
    agreement_ttft_s: Float64Array = quantity(
        "K",
        "s",
        "Within which a first token is in time, infinite where the whole SLO counts.",
        lambda c: c.agreement(lambda a: unlimited(a.ttft_s), np.inf),
        neutral=np.inf,
    )
    agreement_below_share: Float64Array = quantity(
        "KY",
        "",
        "Share in time below which each step of the credit is given.",
        lambda c: c.agreement(lambda a: a.shares, (0.0,) * MAX_TIERS),
    )
    agreement_credit_fraction: Float64Array = quantity(
        "KY",
        "",
        "Share of the charges that each step gives back.",
        lambda c: c.agreement(lambda a: a.credits, (0.0,) * MAX_TIERS),
    )
