"""What an evaluation reports: the metrics of `envs.accounts.metrics`, and latencies, which need every request.

Columns of the result file, headings of the table, axes of the figures and the documentation all come from `METRICS`. A
metric per request class stands in a column `<metric>/<class>`. A foreign environment has only the generic metrics, and
whatever numbers it puts under `info["episode_metrics"]`, which keep their own names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tokenfleet.envs.accounts.metric import Metric
from tokenfleet.envs.accounts.metrics import FLEET, RETURN
from tokenfleet.envs.files import markdown

VALUE, SECONDS = "net_value_usd", "above_cap_s"
"""The columns that searches and comparisons of fleets go by."""
PERCENTILES = (50, 95, 99)

GENERIC: tuple[Metric, ...] = (
    RETURN,
    Metric(
        "length_steps",
        "length",
        "steps",
        "",
        "Decisions until the episode was truncated or terminated; one may hold for several ticks.",
    ),
)
GENERIC_NAMES = tuple(metric.name for metric in GENERIC)
"""Columns of every environment's episodes."""

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

PER_CLASS: tuple[Metric, ...] = (*(metric for metric in FLEET if metric.by_class is not None), *LATENCY)
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
    return replace(known, name=column, label=f"{known.label} {request_class}")


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
    return VALUE if VALUE in set(columns) else RETURN.name


def markdown_table() -> str:
    """The metrics as a table for the documentation."""
    per_class = {metric.name for metric in PER_CLASS}
    rows = (
        (
            f"`{metric.name}`" + (" (also per class)" if metric.name in per_class else ""),
            metric.unit or "-",
            metric.better or "-",
            metric.doc,
        )
        for metric in METRICS.values()
    )
    return markdown.markdown_table(("column", "unit", "better", "meaning"), rows)
