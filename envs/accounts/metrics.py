"""The one table of what an episode of a fleet comes to: name, unit, meaning, which direction is better, and formula.

Environments report these numbers when an episode ends, evaluations tabulate, rank and draw them, and the documentation
lists them. A ratio whose denominator is zero is NaN: nothing ended, nothing was generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tokenfleet.envs.accounts.episode_sums import EpisodeSums
from tokenfleet.envs.accounts.metric import Float64Array, Metric, ratio
from tokenfleet.envs.layers.ledger import AGREED, JOULES_PER_KWH, TOKENS_PER_MILLION, agreed_usd

GRAMS_PER_KG = 1e3


def net_value_usd(sums: EpisodeSums) -> Float64Array:
    """Net value of n episodes: revenue, penalties, the electricity bill and all of `AGREED`, `[n]` [USD]."""
    earned_usd = sums.in_slo_usd + sums.late_usd + sums.lost_usd - sums.electricity_usd
    return earned_usd + agreed_usd(sums.total)


def _per_million_tokens(amount: Float64Array, sums: EpisodeSums) -> Float64Array:
    return ratio(amount * TOKENS_PER_MILLION, sums.total("generated_tokens"))


def _term(term: str) -> Callable[[EpisodeSums], Float64Array]:
    """Payments less costs of the outcomes of `AGREED` with this reward term."""
    some = [one for one in AGREED if one.term == term]
    return lambda sums: np.sum([one.sign * sums.total(one.outcome) for one in some], axis=0)


def _total(*names: str) -> Callable[[EpisodeSums], Float64Array]:
    return lambda sums: sums.total(*names)


RETURN = Metric("return", "return", "", "higher", "Sum of the rewards of the episode.", lambda sums: sums.reward)

FLEET: tuple[Metric, ...] = (
    Metric(
        "net_value_usd",
        "net value",
        "USD",
        "higher",
        "Revenue, training pay and power agreements, less penalties, credits, lost quality and electricity.",
        net_value_usd,
    ),
    Metric(
        "revenue_usd",
        "revenue",
        "USD",
        "higher",
        "Paid for tokens, late ones at their lower price.",
        lambda sums: sums.in_slo_usd + sums.late_usd,
    ),
    Metric(
        "penalty_usd",
        "penalties",
        "USD",
        "lower",
        "Credit owed for refused and expired requests.",
        lambda sums: 0.0 - sums.lost_usd,
    ),
    Metric(
        "energy_usd", "electricity", "USD", "lower", "Electricity bill of all sites.", lambda sums: sums.electricity_usd
    ),
    Metric(
        "carbon_usd",
        "carbon price",
        "USD",
        "lower",
        "Of the electricity bill, the price of carbon.",
        lambda s: s.carbon_usd,
    ),
    Metric(
        "power_charge_usd",
        "power charges",
        "USD",
        "lower",
        "Charged for the highest window and for ramps.",
        lambda sums: 0.0 - _term("power_charge_usd")(sums),
    ),
    Metric(
        "demand_response_usd",
        "demand response",
        "USD",
        "higher",
        "Paid for reduction offered and delivered, less damages and rebound.",
        _term("demand_response_usd"),
    ),
    Metric(
        "regulation_usd",
        "regulation",
        "USD",
        "higher",
        "Paid for following the grid's signal.",
        _term("regulation_usd"),
    ),
    Metric(
        "regulation_score",
        "regulation score",
        "",
        "higher",
        "Mean score of following the grid's signal.",
        lambda sums: ratio(sums.total("regulation_score"), sums.total("regulation_ticks")),
        percent=True,
    ),
    Metric(
        "service_credit_usd",
        "service credits",
        "USD",
        "lower",
        "Given back because agreements with classes were missed.",
        lambda sums: 0.0 - _term("service_credit_usd")(sums),
    ),
    Metric(
        "quality_loss_usd",
        "quality loss",
        "USD",
        "lower",
        "Paid less for answers of variants than for those of the models that were asked for.",
        lambda sums: 0.0 - _term("quality_loss_usd")(sums),
    ),
    Metric(
        "variant_share",
        "variant share",
        "",
        "",
        "Share of the output tokens of completed requests that variants answered.",
        lambda sums: ratio(sums.total("variant_tokens"), sums.total("output_tokens_in_slo", "output_tokens_late")),
        percent=True,
    ),
    Metric(
        "training_usd",
        "training",
        "USD",
        "higher",
        "Earned by training jobs, less what was earned for lost work.",
        _term("training_usd"),
    ),
    Metric(
        "call_performance",
        "call performance",
        "",
        "higher",
        "Share of the reduction called that was delivered.",
        lambda sums: ratio(sums.total("delivered_j"), sums.total("called_j")),
        percent=True,
    ),
    Metric(
        "goodput_tokens_per_s",
        "goodput",
        "tokens/s",
        "higher",
        "Output tokens within SLO, per second.",
        lambda sums: sums.total("output_tokens_in_slo") / sums.duration_s,
    ),
    Metric(
        "slo_attainment",
        "SLO attainment",
        "",
        "higher",
        "Share of ended requests that met their SLO; refused and expired ones did not.",
        lambda sums: ratio(sums.total("completed_in_slo"), sums.ended_requests().sum(axis=1)),
        by_class=lambda sums: ratio(sums.outcome["completed_in_slo"], sums.ended_requests()),
        percent=True,
    ),
    Metric(
        "tokens_per_joule",
        "efficiency",
        "tokens/J",
        "higher",
        "Output tokens generated, over facility energy.",
        lambda sums: ratio(sums.total("generated_tokens"), sums.total("facility_energy_j")),
    ),
    Metric(
        "usd_per_million_tokens",
        "electricity cost",
        "USD/Mtoken",
        "lower",
        "Electricity per million generated tokens.",
        lambda sums: _per_million_tokens(sums.electricity_usd, sums),
    ),
    Metric(
        "g_per_million_tokens",
        "emissions",
        "gCO2e/Mtoken",
        "lower",
        "Emissions per million generated tokens.",
        lambda sums: _per_million_tokens(sums.carbon_g, sums),
    ),
    Metric(
        "energy_kwh",
        "energy",
        "kWh",
        "",
        "Energy that all sites drew from the grid.",
        lambda sums: sums.total("energy_j") / JOULES_PER_KWH,
    ),
    Metric(
        "carbon_kg",
        "carbon",
        "kg",
        "lower",
        "CO2e emissions of the electricity.",
        lambda sums: sums.carbon_g / GRAMS_PER_KG,
    ),
    Metric(
        "above_cap_s",
        "above cap",
        "s",
        "lower",
        "Time with the meter above the cap, summed over sites and rows.",
        _total("above_cap_s", "row_above_cap_s"),
    ),
    Metric(
        "peak_over_cap_w",
        "peak over cap",
        "W",
        "lower",
        "Furthest that a meter stood above its cap.",
        lambda sums: sums.peak_over_cap_w,
    ),
    Metric("brakes", "brakes", "", "lower", "Power brakes that began.", _total("brakes", "row_brakes")),
    Metric("trips", "trips", "", "lower", "Breaker trips.", _total("trips", "row_trips")),
    Metric(
        "completed",
        "completed",
        "requests",
        "higher",
        "Requests answered in full, in time or late.",
        lambda sums: (sums.outcome["completed_in_slo"] + sums.outcome["completed_late"]).sum(axis=1),
    ),
    Metric("refused", "refused", "requests", "lower", "Requests turned away, or lost to a trip.", _total("refused")),
    Metric("expired", "expired", "requests", "lower", "Requests that ran out of patience or time.", _total("expired")),
    Metric(
        "declined",
        "declined",
        "requests",
        "",
        "Requests whose clients found the token price too high.",
        _total("declined"),
    ),
    Metric(
        "budget_ended", "budgets spent", "sessions", "", "Sessions that had spent their budget.", _total("budget_ended")
    ),
    Metric(
        "ttft_mean_s",
        "mean TTFT",
        "s",
        "lower",
        "Mean time to first token of every request that got one.",
        lambda sums: ratio(sums.total("ttft_sum_s"), sums.total("first_tokens")),
    ),
)
"""What a fleet reports of an episode, beside `RETURN`."""


def episode_metrics(sums: EpisodeSums, classes: tuple[str, ...]) -> Mapping[str, Float64Array]:
    """Every metric of n episodes, `[n]` each; those by request class as `<metric>/<class>`."""
    values: dict[str, Float64Array] = {}
    for metric in (RETURN, *FLEET):
        if metric.formula is not None:
            values[metric.name] = metric.formula(sums)
        if metric.by_class is not None:
            columns = metric.by_class(sums).T
            values |= {f"{metric.name}/{name}": column for name, column in zip(classes, columns, strict=True)}
    return values
