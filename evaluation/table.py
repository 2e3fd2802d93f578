"""The table in the terminal: policies by rank, the metrics that matter, intervals where they decide, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tokenfleet.envs.accounts.metric import Metric
from tokenfleet.envs.spec import counted
from tokenfleet.evaluation.metrics import GENERIC_NAMES, describe
from tokenfleet.evaluation.protocol import Protocol, load_protocol, score_interval, score_text
from tokenfleet.evaluation.summary import Summary, decimals, number, scaled, verdict

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 160
_SHOWN = (
    "net_value_usd",
    "goodput_tokens_per_s",
    "slo_attainment",
    "above_cap_s",
    "brakes",
    "trips",
    "tokens_per_joule",
    "ttft_p99_s/",
    "usd_per_million_tokens",
    "g_per_million_tokens",
    *GENERIC_NAMES,
)
"""Columns in order of importance; those that do not fit the terminal are left to the file. A `/` stands for classes, of
which the first `_MOST_CLASSES` are shown."""


_MOST_CLASSES = 3


@dataclass(frozen=True)
class Column:
    """One printed column: a heading in two lines, and its cells from the best policy to the worst."""

    heading: str
    unit: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]

    @property
    def width(self) -> int:
        """Characters that it needs, padding included."""
        return max(len(text) for text in (self.heading, self.unit, *self.cells)) + 3


def print_table(summary: Summary, console: Console | None = None, protocol: Protocol | None = None) -> None:
    """Print the table and the verdict; plain text of a fixed width where nobody is at a terminal.

    Args:
        summary: of the study.
        console: where to print; by default standard output.
        protocol: that scores policies; by default the one in force.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=PLAIN_WIDTH, no_color=True, highlight=False)
    names = Column(
        "policy", "", tuple(_title(summary, name) for name in summary.ranking), (False,) * len(summary.ranking)
    )
    protocol = protocol or load_protocol()
    columns = [_column(summary, name) for name in shown_columns(summary)]
    columns[1:1] = _score_columns(summary, protocol)  # beside the dollars
    fitting = _fit(columns, console.width - names.width - 1)
    console.print(_render(summary, [names, *fitting]))
    for line in _notes(summary, len(columns) - len(fitting), console.is_terminal):
        console.print(Text(line, style="dim"))
    if why := protocol.why_none(summary.study):
        console.print(Text(why, style="dim"))
    for line in verdict(summary):
        console.print(Text(f"- {line}"))


def table_text(summary: Summary) -> str:
    """The table and the verdict as plain text."""
    import io

    from rich.console import Console

    text = io.StringIO()
    print_table(summary, Console(file=text))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n") + "\n"


def shown_columns(summary: Summary) -> list[str]:
    """The study's columns that the table would like to show, the most important first."""
    shown: list[str] = []
    for wanted in _SHOWN:
        matching = [
            name for name in summary.study.columns if name == wanted or (wanted[-1] == "/" and name.startswith(wanted))
        ]
        shown += [name for name in matching if _has_numbers(summary, name)][:_MOST_CLASSES]
    fleet = summary.headline.name == "net_value_usd"
    return [column for column in shown if not (fleet and column in GENERIC_NAMES)]


def _has_numbers(summary: Summary, column: str) -> bool:
    return any(np.isfinite(estimates[column].mean.estimate) for estimates in summary.estimates.values())


def _title(summary: Summary, name: str) -> str:
    members = len(summary.method(name).policies)
    return f"{name} ({members} training seeds)" if members > 1 else name


def _column(summary: Summary, name: str) -> Column:
    metric = describe(name)
    means = [scaled(summary.estimates[policy][name].mean, metric) for policy in summary.ranking]
    best = _best([mean.estimate for mean in means], metric)
    places = decimals(means)
    ranks = name == summary.headline.name
    cells = []
    for mean, is_best in zip(means, best, strict=True):
        text = number(mean.estimate, places)
        if ranks:
            text += f" [{number(mean.low, places)}, {number(mean.high, places)}]"
        cells.append(text + (" *" if is_best else "  "))
    base, _, request_class = name.partition("/")
    unit = "%" if metric.percent else metric.unit
    detail = f"{unit} [95 %]" if ranks else f"{unit}, {request_class}" if request_class else unit
    return Column(describe(base).label, detail, tuple(cells), tuple(best))


def _score_columns(summary: Summary, protocol: Protocol) -> list[Column]:
    """The scores, if the protocol scores the study's episodes."""
    reference = protocol.reference(summary.study)
    if reference is None:
        return []
    means = [summary.estimates[policy]["net_value_usd"].mean for policy in summary.ranking]
    scores = [score_interval(reference, mean) for mean in means]
    best = _best([score.estimate for score in scores], describe("net_value_usd"))
    cells = [
        f"{score_text(score.estimate)} [{score_text(score.low)}, {score_text(score.high)}]"
        + (" *" if is_best else "  ")
        for score, is_best in zip(scores, best, strict=True)
    ]
    return [Column("score", protocol.name, tuple(cells), tuple(best))]


def _best(values: Sequence[float], metric: Metric) -> list[bool]:
    """Which values are the best of the column; none if no direction is better, or all values are equal."""
    known = [value for value in values if np.isfinite(value)]
    if not metric.better or len(set(known)) < 2:
        return [False] * len(values)
    best = max(known) if metric.better == "higher" else min(known)
    return [value == best for value in values]


def _fit(columns: Sequence[Column], width: int) -> list[Column]:
    """As many of the first columns as fit; always at least one."""
    fitting: list[Column] = []
    for column in columns:
        width -= column.width
        if width < 0 and fitting:
            break
        fitting.append(column)
    return fitting


def _render(summary: Summary, columns: Sequence[Column]) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        heading = Text(f"{column.heading}\n{column.unit}".rstrip("\n"))
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=position > 0, overflow="fold")
    for row, policy in enumerate(summary.ranking):
        style = "bold" if summary.method(policy).learned else ""
        cells = [Text(column.cells[row], style="bold green" if column.best[row] else style) for column in columns]
        table.add_row(*cells)
    return table


def _notes(summary: Summary, hidden: int, at_terminal: bool) -> list[str]:
    episodes = counted(summary.study.episodes, "episode")
    note = f"Means over {episodes} that every policy met; 95 % bootstrap interval; * best of its column."
    way_out = "; a wider terminal shows more" if at_terminal else ""
    return [note, *([f"The summary file has {counted(hidden, 'more column')}{way_out}."] if hidden else [])]
