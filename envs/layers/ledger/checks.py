"""What must come out, whatever the episode: the audit of a ledger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokenfleet.envs.layers.ledger.book import ALL_LAYERS, Check, Entry
from tokenfleet.envs.layers.ledger.entries import stored_j
from tokenfleet.envs.layers.ledger.sums import Float64Array, LedgerRates, Sums

RELATIVE_TOLERANCE = 1e-9
ENDINGS = ("in_slo", "late", "lost", "declined")
"""How a request can end, as outcomes name it."""


def all_checks(entries: tuple[Entry, ...], sums: Sums, rates: LedgerRates) -> tuple[Check, ...]:
    """Every check of a ledger."""
    net = [e.usd for e in entries if e.account == "net"]
    given = sums.sum("energy_j", "solar_j", "battery_discharge_j")
    boards = sums.sum("busy_energy_j", "idle_energy_j", "asleep_energy_j", "host_energy_j")
    llm = [e.tokens for e in entries if e.layer == "llm"]
    demand = [e.tokens for e in entries if e.layer in ("scheduling", "agents")]
    ended = sums.sum("completed_in_slo", "completed_late", "refused", "expired", "declined")
    output = sums.sum("output_tokens_in_slo", "output_tokens_late")
    return (
        _equal(
            "power", "supply is consumption and charge", "J", [given], sums.sum("facility_energy_j", "battery_charge_j")
        ),
        _equal("gpu", "boards and servers are IT", "J", [boards], sums.sum("it_energy_j")),
        _equal(ALL_LAYERS, "energy in is energy out", "J", [e.joules for e in entries], 0.0),
        _between("power", "batteries stay within their bounds", "J", stored_j(sums, rates), *rates.battery_change_j),
        _equal(ALL_LAYERS, "dollars are net value", "USD", net, sums.net_value_usd),
        _equal(ALL_LAYERS, "emissions are the grid's", "g", [e.grams for e in entries], sums.grams["energy_j"]),
        _between("agents", "prices are within their factors", "USD", *_price_bounds(sums, rates)),
        _equal("llm", "context made is answered, given up or there", "tokens", llm, 0.0),
        _equal("agents", "tokens asked for are answered, lost or in flight", "tokens", demand, 0.0),
        _equal(
            "distribution", "tokens delivered are those of answers", "tokens", [sums.sum("delivered_tokens")], output
        ),
        _equal(
            "scheduling",
            "requests end once or are in flight",
            "requests",
            [ended, sums.in_flight_requests],
            sums.sum("arrived"),
        ),
    )


def _price_bounds(sums: Sums, rates: LedgerRates) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Value of all ended requests, and the least and the highest possible worth of their tokens, `[K]` each."""

    def per_class(name: str) -> Float64Array:
        total: Float64Array = np.sum([sums.total[name.format(ending)] for ending in ENDINGS], axis=0)
        return total

    input_usd = per_class("prompt_tokens_{}") * rates.usd_per_input_token
    output_usd = per_class("output_tokens_{}") * rates.usd_per_output_token
    low = rates.lowest_price_factor * (input_usd * rates.cached_input_fraction_of_price + output_usd)
    return per_class("value_{}_usd"), low, rates.highest_price_factor * (input_usd + output_usd)


def _equal(layer: str, name: str, unit: str, parts: Sequence[float], wanted: float) -> Check:
    scale = sum(abs(part) for part in parts) + abs(wanted)
    return Check(layer, name, unit, sum(parts), wanted, wanted, RELATIVE_TOLERANCE * scale)


def _between(layer: str, name: str, unit: str, values: Float64Array, low: Float64Array, high: Float64Array) -> Check:
    """A check of the one of several values that is nearest to leaving its bounds, or furthest outside."""
    worst = int(np.argmin(np.minimum(values - low, high - values)))
    scale = max(abs(float(bound[worst])) for bound in (values, low, high))
    return Check(
        layer, name, unit, float(values[worst]), float(low[worst]), float(high[worst]), RELATIVE_TOLERANCE * scale
    )
