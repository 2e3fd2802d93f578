"""The one table of what an evaluation reports: name, unit, meaning, and which direction is better.

Columns of the result file, headings of the table, axes of the figures and the documentation are all read from it. A
metric per request class stands in a column `<metric>/<class>`. A foreign environment has only the generic metrics, and
whatever numbers it puts under `info["episode_metrics"]`, which keep their own names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", ""]
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Metric:
    """One number per episode.

    Attributes:
        name: column name, with its unit as a suffix where it has one.
        label: as a person reads it, without the unit.
        unit: as a person reads it; empty for counts and shares.
        better: `"higher"`, `"lower"`, or empty where neither is better by itself.
        doc: what it means, one sentence.
        percent: shown as a percentage.
    """

    name: str
    label: str
    unit: str
    better: Better
    doc: str
    percent: bool = False

    @property
    def heading(self) -> str:
        """Label and unit, for example `energy [kWh]`."""
        unit = "%" if self.percent else self.unit
        return f"{self.label} [{unit}]" if unit else self.label


GENERIC: tuple[Metric, ...] = (
    Metric("return", "return", "", "higher", "Sum of the rewards of the episode."),
    Metric("length_steps", "length", "steps", "", "Steps until the episode was truncated or terminated."),
)

FLEET: tuple[Metric, ...] = (
    Metric("net_value_usd", "net value", "USD", "higher", "Revenue less penalties and electricity."),
    Metric("revenue_usd", "revenue", "USD", "higher", "Paid for tokens, late ones at their lower price."),
    Metric("penalty_usd", "penalties", "USD", "lower", "Credit owed for refused and expired requests."),
    Metric("energy_usd", "electricity", "USD", "lower", "Electricity bill of all sites."),
    Metric("goodput_tokens_per_s", "goodput", "tokens/s", "higher", "Output tokens within SLO, per second."),
    Metric(
        "slo_attainment",
        "SLO attainment",
        "",
        "higher",
        "Share of ended requests that met their SLO; refused and expired ones did not.",
        percent=True,
    ),
    Metric("tokens_per_joule", "efficiency", "tokens/J", "higher", "Output tokens generated, over facility energy."),
    Metric(
        "usd_per_million_tokens", "electricity cost", "USD/Mtoken", "lower", "Electricity per million generated tokens."
    ),
    Metric("g_per_million_tokens", "emissions", "gCO2e/Mtoken", "lower", "Emissions per million generated tokens."),
    Metric("energy_kwh", "energy", "kWh", "", "Energy that all sites drew from the grid."),
    Metric("carbon_kg", "carbon", "kg", "lower", "CO2e emissions of the electricity."),
    Metric("above_cap_s", "above cap", "s", "lower", "Time with the meter above the cap, summed over sites and rows."),
    Metric("peak_over_cap_w", "peak over cap", "W", "lower", "Furthest that a meter stood above its cap."),
    Metric("brakes", "brakes", "", "lower", "Power brakes that began."),
    Metric("trips", "trips", "", "lower", "Breaker trips."),
    Metric("completed", "completed", "requests", "higher", "Requests answered in full, in time or late."),
    Metric("refused", "refused", "requests", "lower", "Requests turned away, or lost to a trip."),
    Metric("expired", "expired", "requests", "lower", "Requests whose patience or deadline ran out."),
    Metric("declined", "declined", "requests", "", "Requests whose clients found the token price too high."),
    Metric("budget_ended", "budgets spent", "sessions", "", "Sessions that had spent their budget."),
    Metric("ttft_mean_s", "mean TTFT", "s", "lower", "Mean time to first token of every request that got one."),
)

_LATENCIES = {
    "ttft": ("TTFT", "time to first token of the requests that got one"),
    "tpot": ("TPOT", "time per further output token of the completed requests"),
    "e2e": ("E2E", "time from arrival to last token of the completed requests"),
}

LATENCY: tuple[Metric, ...] = tuple(
    Metric(f"{key}_p{percentile}_s", f"p{percentile} {label}", "s", "lower", f"p{percentile} of the {what}.")
    for key, (label, what) in _LATENCIES.items()
    for percentile in PERCENTILES
)

PER_CLASS: tuple[Metric, ...] = (*(metric for metric in FLEET if metric.name == "slo_attainment"), *LATENCY)
"""Metrics that also exist once per request class, as `<metric>/<class>`."""

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*GENERIC, *FLEET, *LATENCY)}


def describe(column: str) -> Metric:
    """The metric of a column; a column that the table does not know describes itself.

    >>> describe("ttft_p99_s/chat").heading
    'p99 TTFT chat [s]'
    >>> describe("landings").heading
    'landings'
    """
    name, _, request_class = column.partition("/")
    known = METRICS.get(name)
    if known is None:
        return Metric(column, column, "", "", "Reported by the environment.")
    if not request_class:
        return known
    return Metric(column, f"{known.label} {request_class}", known.unit, known.better, known.doc, known.percent)


def in_order(columns: Iterable[str]) -> list[str]:
    """Columns in the order of the table; per class after the totals, unknown ones last, as they came.

    >>> in_order(["landings", "ttft_p50_s/chat", "brakes", "slo_attainment/chat", "return"])
    ['return', 'brakes', 'slo_attainment/chat', 'ttft_p50_s/chat', 'landings']
    """
    position = {name: index for index, name in enumerate(METRICS)}

    def rank(column: str) -> tuple[int, int]:
        name, _, request_class = column.partition("/")
        if name not in position:
            return 2, 0
        return (1 if request_class else 0), position[name]

    return sorted(dict.fromkeys(columns), key=rank)


def headline(columns: Iterable[str]) -> str:
    """The column by which policies are ranked: net value, or the return of a foreign environment."""
    return "net_value_usd" if "net_value_usd" in set(columns) else "return"


def markdown_table() -> str:
    """The metrics as a table for the documentation."""
    lines = ["| column | unit | better | meaning |", "|---|---|---|---|"]
    per_class = {metric.name for metric in PER_CLASS}
    for metric in METRICS.values():
        name = f"`{metric.name}`" + (" (also per class)" if metric.name in per_class else "")
        lines.append(f"| {name} | {metric.unit or '-'} | {metric.better or '-'} | {metric.doc} |")
    return "\n".join(lines)
