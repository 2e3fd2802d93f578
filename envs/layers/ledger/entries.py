"""What each layer costs and adds, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping

from tokenfleet.envs.layers.ledger.agreed import AGREED
from tokenfleet.envs.layers.ledger.book import Entry
from tokenfleet.envs.layers.ledger.sums import Float64Array, LedgerRates, Sums


def all_entries(sums: Sums, rates: LedgerRates) -> tuple[Entry, ...]:
    """The entries of all layers, from the grid up."""
    return (
        *power(sums, rates),
        *facility_and_gpu(sums, rates),
        *llm(sums),
        *distribution(sums, rates),
        *scheduling(sums),
        *agents(sums, rates),
    )


def power(sums: Sums, rates: LedgerRates) -> list[Entry]:
    """Grid, sun and batteries, what is passed on at the grid's price, and agreements about power."""
    left_j = float(stored_j(sums, rates).sum())
    market_usd = sums.usd["energy_j"] - sums.carbon_usd
    loss_j = sums.sum("battery_charge_j") - sums.sum("battery_discharge_j") - left_j
    return [
        Entry("power", "grid", usd=-market_usd, joules=sums.sum("energy_j"), grams=sums.grams["energy_j"]),
        Entry("power", "carbon price", usd=-sums.carbon_usd),
        Entry("power", "solar", joules=sums.sum("solar_j")),
        Entry("power", "battery losses", joules=-loss_j),
        Entry("power", "left in batteries", joules=-left_j),
        Entry(
            "power",
            "passed on at the grid's price",
            usd=sums.usd["facility_energy_j"],
            grams=-sums.grams["facility_energy_j"],
        ),
        *agreed("power", sums),
    ]


def agreed(layer: str, sums: Sums) -> list[Entry]:
    """What agreements about power or service pay and cost a layer."""
    return [Entry(layer, one.item, usd=one.sign * sums.sum(one.outcome)) for one in AGREED if one.layer == layer]


def stored_j(sums: Sums, rates: LedgerRates) -> Float64Array:
    """How much more the batteries hold than at the start, `[S]`."""
    charged_j = sums.total["battery_charge_j"] * rates.charge_efficiency
    return charged_j - sums.total["battery_discharge_j"] / rates.discharge_efficiency


def facility_and_gpu(sums: Sums, rates: LedgerRates) -> list[Entry]:
    """What facility, servers, boards and training jobs draw, the pay of training, and the rent of the pools' boards."""
    it = ("host_energy_j", "busy_energy_j", "idle_energy_j", "asleep_energy_j", "training_energy_j")

    def used(layer: str, item: str, *names: str, less: tuple[str, ...] = ()) -> Entry:
        def net(values: Mapping[str, float]) -> float:
            return sum(values[name] for name in names) - sum(values[name] for name in less)

        joules = sums.sum(*names) - sums.sum(*less)
        return Entry(layer, item, usd=-net(sums.usd), joules=-joules, grams=net(sums.grams))

    rent_usd = float(rates.rent_usd_per_s.sum()) * sums.duration_s
    return [
        used("facility", "cooling and conversion", "facility_energy_j", less=it),
        used("facility", "servers", "host_energy_j"),
        used("gpu", "boards busy", "busy_energy_j"),
        used("gpu", "boards idle", "idle_energy_j"),
        used("gpu", "boards asleep", "asleep_energy_j"),
        used("gpu", "training jobs", "training_energy_j"),
        *agreed("gpu", sums),
        Entry("gpu", "rent of all boards", "beyond", usd=-rent_usd),
    ]


def llm(sums: Sums) -> list[Entry]:
    """Context that is computed, and its fate."""
    return [
        Entry("llm", "prefilled", tokens=sums.sum("prefilled_tokens")),
        Entry("llm", "found in prefix caches", tokens=sums.sum("prefix_hit_tokens")),
        Entry("llm", "generated", tokens=sums.sum("generated_tokens")),
        Entry("llm", "from pool to pool", tokens=sums.sum("taken_over_tokens") - sums.sum("handed_off_tokens")),
        Entry("llm", "in answers", tokens=-sums.tokens("in_slo", "late")),
        Entry("llm", "given up by preemption", tokens=-sums.sum("preempted_tokens")),
        Entry("llm", "lost with a replica", tokens=-sums.sum("dropped_tokens")),
        Entry("llm", "still running", tokens=-sums.sum("running_tokens_change")),
    ]


def distribution(sums: Sums, rates: LedgerRates) -> list[Entry]:
    """Traffic to clients and between sites."""
    delivered = sums.total["delivered_tokens"]
    usd = float((delivered * rates.egress_usd_per_token).sum())
    moved_usd = sums.sum("kv_sent_bytes") * rates.site_usd_per_byte
    return [
        Entry("distribution", "answers to clients", "beyond", usd=-usd, tokens=float(delivered.sum())),
        Entry("distribution", "KV cache between sites", "beyond", usd=-moved_usd),
    ]


def scheduling(sums: Sums) -> list[Entry]:
    """What was not sold."""
    return [
        Entry("scheduling", "refused or expired", "forgone", -sums.sum("value_lost_usd"), tokens=-sums.tokens("lost")),
        Entry("scheduling", "declined", "forgone", -sums.sum("value_declined_usd"), tokens=-sums.tokens("declined")),
    ]


def agents(sums: Sums, rates: LedgerRates) -> list[Entry]:
    """Tokens asked for and answered, payments for them, penalties, and agreements about service."""
    late_usd = sums.total["value_late_usd"]
    paid_late_usd = float((late_usd * rates.late_value_fraction).sum())
    penalty_usd = float((sums.total["value_lost_usd"] * rates.lost_penalty_fraction).sum())
    return [
        Entry("agents", "asked for", tokens=sums.tokens("asked")),
        Entry("agents", "answered in time", usd=sums.sum("value_in_slo_usd"), tokens=-sums.tokens("in_slo")),
        Entry("agents", "answered late", usd=paid_late_usd, tokens=-sums.tokens("late")),
        Entry("agents", "what being late took off", "forgone", usd=paid_late_usd - float(late_usd.sum())),
        Entry("agents", "penalties", usd=-penalty_usd),
        *agreed("agents", sums),
        Entry("agents", "in flight", tokens=-float(sums.in_flight_tokens)),
    ]
