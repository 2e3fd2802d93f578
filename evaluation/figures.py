"""Figures of an evaluation: how the policies compare, and what one of them does in an episode. PNG, without a window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation import style
from tokenfleet.evaluation.metrics import describe
from tokenfleet.evaluation.summary import Summary, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokenfleet.evaluation.timeline import Timeline

Float64Array = NDArray[np.float64]

COMPARED = ("net_value_usd", "goodput_tokens_per_s", "slo_attainment", "above_cap_s")
COMPARED_FOREIGN = ("return", "length_steps")


def draw_comparison(summary: Summary, path: Path) -> Path:
    """Every policy's main metrics with their intervals, best policy on top.

    Args:
        summary: of the study.
        path: of the PNG.
    """
    fleet = summary.headline.name == "net_value_usd"
    columns = [name for name in (COMPARED if fleet else COMPARED_FOREIGN) if name in summary.study.columns]
    with style.house_style():
        height = 1.5 + 0.36 * len(summary.ranking)
        figure, axes = style.new_figure(1, len(columns), 1.8 + 2.7 * len(columns), height, sharey=True)
        for panel, column in zip(axes[0], columns, strict=True):
            _draw_intervals(panel, summary, column)
        _name_policies(axes[0, 0], summary)
        figure.suptitle(_comparison_title(summary), x=0.01, ha="left", fontsize=9.5, color=style.MUTED)
        return style.save(figure, path)


def draw_timeline(timelines: Sequence[Timeline], path: Path) -> Path:
    """One episode under each policy, side by side: power against the cap, clocks, and who waits.

    Args:
        timelines: of the same episode, one per policy.
        path: of the PNG.
    """
    sites = timelines[0].sites
    rows = len(sites) + 2
    with style.house_style():
        figure, axes = style.new_figure(
            rows, len(timelines), 1.2 + 5.2 * len(timelines), 1.0 + 1.75 * rows, sharex=True, sharey="row"
        )
        for column, timeline in enumerate(timelines):
            for site in range(len(sites)):
                _draw_power(axes[site, column], timeline, site)
            _draw_clocks(axes[-2, column], timeline)
            _draw_queues(axes[-1, column], timeline)
            axes[0, column].set_title(timeline.policy)
            axes[-1, column].set_xlabel("time in the episode [s]")
        for site, name in enumerate(sites):
            axes[site, 0].set_ylabel(f"{name}\npower [kW]")
        axes[-2, 0].set_ylabel("clock\n[share of maximum]")
        axes[-1, 0].set_ylabel("waiting\n[requests]")
        for row in (0, rows - 2, rows - 1):
            axes[row, -1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        return style.save(figure, path)


def _draw_intervals(axes: Axes, summary: Summary, column: str) -> None:
    metric = describe(column)
    factor = 100.0 if metric.percent else 1.0
    for position, name in enumerate(summary.ranking):
        entry = summary.entry(name)
        colour = style.BLUE if entry.learned else style.MUTED
        mean = scaled(summary.estimates[name][column].mean, metric)
        axes.plot([mean.low, mean.high], [position, position], color=colour, linewidth=4.5, alpha=0.35)
        if len(entry.policies) > 1:
            members = factor * np.nanmean(entry.scores[column], axis=1)
            axes.plot(members, np.full(len(members), position), "|", color=colour, markersize=9, markeredgewidth=1.2)
        axes.plot([mean.estimate], [position], "o", color=colour, markersize=6, markeredgecolor="white")
    axes.set_title(metric.label)
    axes.set_xlabel(f"{'%' if metric.percent else metric.unit}{_direction(metric.better)}".strip() or " ")
    axes.margins(x=0.08, y=0.06)
    style.only_grid(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _direction(better: str) -> str:
    return {"higher": "  (higher is better)", "lower": "  (lower is better)"}.get(better, "")


def _name_policies(axes: Axes, summary: Summary) -> None:
    axes.set_yticks(range(len(summary.ranking)), list(summary.ranking))
    axes.set_ylim(len(summary.ranking) - 0.5, -0.5)
    for label, name in zip(axes.get_yticklabels(), summary.ranking, strict=True):
        if summary.entry(name).learned:
            label.set_color(style.BLUE)
            label.set_fontweight("bold")


def _comparison_title(summary: Summary) -> str:
    entries = summary.study.entries
    text = f"Mean and 95 % bootstrap interval over {summary.study.episodes} episodes"
    if any(len(entry.policies) > 1 for entry in entries):
        text += " and training seeds (ticks: single seeds)"
    return text + ("; learned policies in blue." if any(entry.learned for entry in entries) else ".")


def _draw_power(axes: Axes, timeline: Timeline, site: int) -> None:
    time_s, power, cap = timeline.start_s, timeline.power_w[:, site] / 1e3, timeline.cap_w[:, site] / 1e3
    braked = timeline.braked[:, site] > 0.0
    axes.fill_between(
        time_s,
        0,
        1,
        where=braked,
        step="post",
        transform=axes.get_xaxis_transform(),
        color=style.ORANGE,
        alpha=0.25,
        linewidth=0,
        label="power brake",
    )
    axes.plot(time_s, power, color=style.BLUE, linewidth=1.1, drawstyle="steps-post", label="power")
    axes.fill_between(
        time_s, cap, power, where=power > cap, step="post", color=style.RED, linewidth=0, label="above the cap"
    )
    axes.plot(time_s, cap, color=style.INK, linewidth=1.6, drawstyle="steps-post", label="cap")
    axes.set_ylim(bottom=0.0)
    axes.set_xlim(time_s[0], time_s[-1] + timeline.tick_s)


def _draw_clocks(axes: Axes, timeline: Timeline) -> None:
    for pool, name in enumerate(timeline.pools):
        colour = style.PALETTE[pool % len(style.PALETTE)]
        axes.plot(
            timeline.start_s,
            timeline.clock_fraction[:, pool],
            color=colour,
            linewidth=1.2,
            drawstyle="steps-post",
            label=name,
        )
    axes.set_ylim(0.0, 1.05)


def _draw_queues(axes: Axes, timeline: Timeline) -> None:
    for pool, name in enumerate(timeline.pools):
        colour = style.PALETTE[pool % len(style.PALETTE)]
        axes.plot(
            timeline.start_s,
            timeline.queued_requests[:, pool],
            color=colour,
            linewidth=1.2,
            drawstyle="steps-post",
            label=name,
        )
    held = timeline.held_requests.sum(axis=1)
    if held.any():
        axes.plot(timeline.start_s, held, color=style.MUTED, linewidth=1.2, linestyle=(0, (3, 2)), label="deferred")
    axes.set_ylim(bottom=0.0)
