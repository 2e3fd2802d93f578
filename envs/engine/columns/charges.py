"""Columns of what sites pay for power beyond energy and are paid for giving it up, `[S]`.

Every source is a `sites.SiteSource`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.classes import place
from tokenfleet.envs.engine.columns.ticks import MANY, whole_ticks
from tokenfleet.envs.layers.ledger import JOULES_PER_MWH
from tokenfleet.envs.layers.power import ProgrammeSpec, RegulationSpec, TariffSpec
from tokenfleet.envs.quantities import quantity

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


def _window_ticks(tick_s: float) -> Callable[[TariffSpec], float | None]:
    return lambda t: None if t.demand_charge is None else max(whole_ticks(t.demand_charge.window_s, tick_s), 1)


def _baseline_ticks(tick_s: float) -> Callable[[ProgrammeSpec], float]:
    return lambda p: 0 if p.baseline_fraction is not None else max(whole_ticks(p.baseline_s, tick_s), 1)


def _base_ticks(tick_s: float) -> Callable[[RegulationSpec], float]:
    return lambda r: max(whole_ticks(r.base_s, tick_s), 1)


@dataclass(frozen=True)
class ChargeColumns:
    """Costs of a site's power beyond energy, and payments for demand response and for frequency regulation."""

    charges: Int64Array = quantity(
        "S",
        "",
        "Place among the sites whose tariff charges for more than energy, -1 without.",
        lambda s: place(s.name, list(s.scenario.charging_tariffs)),
        low=-1,
        index_of="M",
        neutral=-1,
    )
    demand_window_ticks: Int64Array = quantity(
        "S",
        "ticks",
        "Of a metering window.",
        lambda s: s.tariff(_window_ticks(s.scenario.tick_s), 1),
        low=1,
        high=MANY,
        neutral=1,
    )
    demand_usd_per_w: Float64Array = quantity(
        "S",
        "USD/W",
        "Charge for the highest window above the ratchet.",
        lambda s: s.tariff(lambda t: t.demand_charge and t.demand_charge.usd_per_w),
    )
    ratchet_w: Float64Array = quantity(
        "S",
        "W",
        "Peak that is paid for already.",
        lambda s: s.tariff(lambda t: t.demand_charge and t.demand_charge.ratchet_fraction * s.contract_w),
    )
    ramp_limit_w: Float64Array = quantity(
        "S",
        "W",
        "Most by which power may change from tick to tick, infinite without a limit.",
        lambda s: s.tariff(
            lambda t: t.ramp_charge and t.ramp_charge.limit_fraction_per_s * s.contract_w * s.scenario.tick_s, np.inf
        ),
        neutral=np.inf,
    )
    ramp_usd_per_w: Float64Array = quantity(
        "S", "USD/W", "Charge beyond that.", lambda s: s.tariff(lambda t: t.ramp_charge and t.ramp_charge.usd_per_w)
    )
    programme: Int64Array = quantity(
        "S",
        "",
        "Place among the sites in a demand-response programme, -1 without.",
        lambda s: place(s.name, list(s.scenario.programmes)),
        low=-1,
        index_of="C",
        neutral=-1,
    )
    baseline_ticks: Int64Array = quantity(
        "S",
        "ticks",
        "Over which the baseline averages; 0 for one that is stated.",
        lambda s: s.programme(_baseline_ticks(s.scenario.tick_s)),
        low=0,
        high=MANY,
    )
    initial_baseline_w: Float64Array = quantity(
        "S",
        "W",
        "The baseline that is stated, or the one before anything has been metered.",
        lambda s: s.programme(lambda p: s.contract_w * (1.0 if p.baseline_fraction is None else p.baseline_fraction)),
    )
    contract_w: Float64Array = quantity("S", "W", "The cap outside events.", lambda s: s.contract_w)
    availability_usd_per_s: Float64Array = quantity(
        "S",
        "USD/s",
        "Paid for all that is offered.",
        lambda s: s.programme(lambda p: p.availability_usd_per_s(s.contract_w)),
    )
    activation_usd_per_j: Float64Array = quantity(
        "S",
        "USD/J",
        "Paid for delivered reduction.",
        lambda s: s.programme(lambda p: p.activation_usd_per_mwh / JOULES_PER_MWH),
    )
    damages_usd_per_j: Float64Array = quantity(
        "S",
        "USD/J",
        "Owed for energy above the called cap.",
        lambda s: s.programme(lambda p: p.damages_usd_per_mwh / JOULES_PER_MWH),
    )
    rebound_level: Float64Array = quantity(
        "S",
        "W/W",
        "Of the baseline, above which energy is rebound.",
        lambda s: s.programme(lambda p: 1.0 + p.rebound_tolerance_fraction, 1.0),
        neutral=1.0,
    )
    rebound_usd_per_j: Float64Array = quantity(
        "S", "USD/J", "Owed for rebound.", lambda s: s.programme(lambda p: p.rebound_usd_per_mwh / JOULES_PER_MWH)
    )
    regulation: Int64Array = quantity(
        "S",
        "",
        "Place among the sites that regulate frequency, -1 without.",
        lambda s: place(s.name, list(s.scenario.regulators)),
        low=-1,
        index_of="U",
        neutral=-1,
    )
    regulation_base_ticks: Int64Array = quantity(
        "S",
        "ticks",
        "Over which the base of regulation averages.",
        lambda s: s.regulation(_base_ticks(s.scenario.tick_s), 1),
        low=1,
        high=MANY,
        neutral=1,
    )
    regulation_initial_base_w: Float64Array = quantity(
        "S", "W", "The base before anything has been metered.", lambda s: s.regulation(lambda r: s.contract_w)
    )
    regulation_w: Float64Array = quantity(
        "S",
        "W",
        "Offered for regulation, up and down.",
        lambda s: s.regulation(lambda r: r.capacity_fraction * s.contract_w, 1.0),
        neutral=1.0,
    )
    regulation_usd_per_s: Float64Array = quantity(
        "S", "USD/s", "Paid for perfect following.", lambda s: s.regulation(lambda r: r.usd_per_s(s.contract_w))
    )
    regulation_usd_per_mileage: Float64Array = quantity(
        "S",
        "USD",
        "Paid for perfect following where the signal moves by 1.",
        lambda s: s.regulation(lambda r: r.usd_per_mileage(s.contract_w)),
    )
    regulation_least_score: Float64Array = quantity(
        "S", "", "Score below which a tick is not paid.", lambda s: s.regulation(lambda r: r.least_score)
    )
