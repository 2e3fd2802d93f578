"""Figures of an evaluation, as PNG: how the policies compare, and what they do in one episode."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError, counted
from tokenfleet.evaluation import style
from tokenfleet.evaluation.learning import TRAINING, VALIDATION, curve, read_progress
from tokenfleet.evaluation.metrics import GENERIC_NAMES, describe
from tokenfleet.evaluation.statistics import Interval
from tokenfleet.evaluation.summary import Summary, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokenfleet.evaluation.timeline import Timeline

Float64Array = NDArray[np.float64]

COMPARED = ("net_value_usd", "goodput_tokens_per_s", "slo_attainment", "above_cap_s")
LEARNED = ("return", "net_value_usd", "slo_attainment", "above_cap_s")

log = logging.getLogger(__name__)


def draw_figures(summary: Summary, timelines: Sequence[Timeline], runs: Mapping[str, Path], folder: Path) -> None:
    """Every figure that there is something to draw for; a run without a readable log is named in a warning.

    Args:
        summary: of the study.
        timelines: of one episode; none for an environment that is not a fleet.
        runs: folders of training runs by the label of their policy.
        folder: for the PNGs.
    """
    draw_comparison(summary, folder / "comparison.png")
    if timelines:
        draw_timeline(timelines, folder / "episode.png")
    progress = {}
    for label, run in runs.items():
        try:
            progress[label] = read_progress(run)
        except SpecError as error:
            log.warning("no learning curve for %s: %s", label, error)
    if progress:
        draw_learning(progress, folder / "learning.png")


def draw_comparison(summary: Summary, path: Path) -> Path:
    """Every policy's main metrics with their intervals, best policy on top.

    The second panel is the one that decides: the difference to the reference on the same episodes.

    Args:
        summary: of the study.
        path: of the PNG.
    """
    fleet = summary.headline.name == "net_value_usd"
    columns = [name for name in (COMPARED if fleet else GENERIC_NAMES) if name in summary.study.columns]
    panels = len(columns) + 1
    with style.house_style():
        height = 1.55 + 0.36 * len(summary.ranking)
        figure, axes = style.new_figure(1, panels, 1.6 + 2.35 * panels, height, sharey=True)
        _draw_intervals(axes[0, 0], summary, columns[0])
        _draw_differences(axes[0, 1], summary)
        for panel, column in zip(axes[0, 2:], columns[1:], strict=True):
            _draw_intervals(panel, summary, column)
        _name_policies(axes[0, 0], summary)
        figure.suptitle(_comparison_title(summary), x=0.006, ha="left", fontsize=9.5, color=style.MUTED)
        return style.save(figure, path)


def draw_timeline(timelines: Sequence[Timeline], path: Path) -> Path:
    """One episode under each policy, side by side: power against the cap, warmth of rooms, clocks, and who waits.

    Args:
        timelines: of the same episode, one per policy.
        path: of the PNG.
    """
    sites = timelines[0].sites
    rooms = len(timelines[0].rooms) > 0
    rows = len(sites) + rooms + 2
    with style.house_style():
        figure, axes = style.new_figure(
            rows, len(timelines), 1.2 + 5.2 * len(timelines), 1.0 + 1.75 * rows, sharex=True, sharey="row"
        )
        for column, timeline in enumerate(timelines):
            for site in range(len(sites)):
                _draw_power(axes[site, column], timeline, site)
            if rooms:
                _draw_rooms(axes[len(sites), column], timeline)
            _draw_clocks(axes[-2, column], timeline)
            _draw_queues(axes[-1, column], timeline)
            axes[0, column].set_title(timeline.policy)
            axes[-1, column].set_xlabel("time in the episode [s]")
        for site, name in enumerate(sites):
            axes[site, 0].set_ylabel(f"{name}\npower [kW]")
        if rooms:
            axes[len(sites), 0].set_ylabel("rooms\n[C]")
        axes[-2, 0].set_ylabel("clock\n[share of maximum]")
        axes[-1, 0].set_ylabel("waiting\n[requests]")
        figure.suptitle(
            f"One episode (seed {timelines[0].seed}) under each policy: power against the cap, clocks and queues.",
            x=0.006,
            ha="left",
            fontsize=9.5,
            color=style.MUTED,
        )
        for row in (0, *range(len(sites), rows)):
            axes[row, -1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        return style.save(figure, path)


def draw_learning(progress: Mapping[str, Mapping[str, Float64Array]], path: Path) -> Path:
    """Learning curves: validation as dots on a line, recent training episodes as a pale line behind it.

    Args:
        progress: of each run by label, see `tokenfleet.evaluation.learning.read_progress`.
        path: of the PNG.
    """
    recorded = {name for run in progress.values() for name in run}
    wanted = [name for name in LEARNED if {TRAINING + name, VALIDATION + name} & recorded]
    with style.house_style():
        figure, axes = style.new_figure(1, max(len(wanted), 1), 1.4 + 3.1 * max(len(wanted), 1), 3.3)
        for panel, name in zip(axes[0], wanted, strict=False):
            _draw_curves(panel, progress, name)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if len(handles) > 1:
            figure.legend(handles, labels, loc="outside right upper")
        caption = "Line with dots: mean over the validation episodes. Pale line: mean over the last training episodes."
        figure.suptitle(caption, x=0.006, ha="left", fontsize=9.5, color=style.MUTED)
        return style.save(figure, path)


def _draw_curves(axes: Axes, progress: Mapping[str, Mapping[str, Float64Array]], name: str) -> None:
    metric = describe(name)
    factor = 100.0 if metric.percent else 1.0
    for position, (label, run) in enumerate(progress.items()):
        colour = style.PALETTE[position % len(style.PALETTE)]
        steps, values = curve(run, TRAINING + name)
        axes.plot(steps, factor * values, color=colour, linewidth=1.0, alpha=0.35)
        steps, values = curve(run, VALIDATION + name)
        axes.plot(steps, factor * values, "o-", color=colour, markersize=3.2, label=label)
    axes.set_title(metric.label)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(f"{'%' if metric.percent else metric.unit}{_direction(metric.better)}".strip())
    axes.xaxis.set_major_formatter(_short_count)
    axes.margins(x=0.02)


def _short_count(value: float, _position: float) -> str:
    """Steps on an axis: 250k, 1.5M."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def _draw_intervals(axes: Axes, summary: Summary, column: str) -> None:
    metric = describe(column)
    factor = 100.0 if metric.percent else 1.0
    for position, name in enumerate(summary.ranking):
        method = summary.method(name)
        _draw_interval(axes, position, scaled(summary.estimates[name][column].mean, metric), method.learned)
        if len(method.policies) > 1:
            seeds = factor * np.nanmean(method.scores[column], axis=1)
            axes.plot(seeds, np.full(len(seeds), position + 0.27), "o", color=style.BLUE, markersize=2.6, alpha=0.7)
    _dress(axes, metric.label, f"{'%' if metric.percent else metric.unit}{_direction(metric.better)}")


def _draw_differences(axes: Axes, summary: Summary) -> None:
    metric = summary.headline
    axes.axvline(0.0, color=style.MUTED, linewidth=1.0)
    for position, name in enumerate(summary.ranking):
        if name == summary.reference:
            axes.plot([0.0], [position], "o", color="white", markersize=6, markeredgecolor=style.MUTED)
        else:
            difference = scaled(summary.estimates[name][metric.name].difference, metric)
            _draw_interval(axes, position, difference, summary.method(name).learned)
    _dress(axes, f"{metric.label}, paired", f"{metric.unit or metric.label} less {summary.reference}'s")


def _draw_interval(axes: Axes, position: int, interval: Interval, learned: bool) -> None:
    colour = style.BLUE if learned else style.MUTED
    axes.plot([interval.low, interval.high], [position, position], color=colour, linewidth=4.5, alpha=0.35)
    axes.plot([interval.estimate], [position], "o", color=colour, markersize=6, markeredgecolor="white")


def _dress(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(unit.strip() or " ")
    axes.margins(x=0.08)
    style.only_grid(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _direction(better: str) -> str:
    return {"higher": " (higher is better)", "lower": " (lower is better)"}.get(better, "")


def _name_policies(axes: Axes, summary: Summary) -> None:
    axes.set_yticks(range(len(summary.ranking)), list(summary.ranking))
    axes.set_ylim(len(summary.ranking) - 0.5, -0.5)
    for label, name in zip(axes.get_yticklabels(), summary.ranking, strict=True):
        if summary.method(name).learned:
            label.set_color(style.BLUE)
            label.set_fontweight("bold")


def _comparison_title(summary: Summary) -> str:
    methods = summary.study.methods
    text = f"Mean and 95 % bootstrap interval over {counted(summary.study.episodes, 'episode')}"
    if any(len(method.policies) > 1 for method in methods):
        text += " and training seeds (small dots: single seeds)"
    return text + ("; learned policies in blue." if any(method.learned for method in methods) else ".")


def draw_power_area(axes: Axes, timeline: Timeline, site: int) -> None:
    """Power of a site as an area under its cap; red where power is above the cap."""
    power_kw, cap_kw = timeline.power_w[:, site] / 1e3, timeline.cap_w[:, site] / 1e3
    edges_s = np.arange(len(power_kw) + 1) * timeline.tick_s
    axes.stairs(power_kw, edges_s, baseline=0.0, fill=True, color=style.BLUE, alpha=0.35, linewidth=0, label="power")
    above = np.where(power_kw > cap_kw, power_kw, np.nan)
    axes.stairs(above, edges_s, baseline=cap_kw, fill=True, color=style.RED, linewidth=0, label="above the cap")
    axes.stairs(cap_kw, edges_s, baseline=None, color=style.INK, linewidth=1.8, label="cap")
    axes.set_xlim(0.0, edges_s[-1])


def _draw_power(axes: Axes, timeline: Timeline, site: int) -> None:
    power_kw, cap_kw = timeline.power_w[:, site] / 1e3, timeline.cap_w[:, site] / 1e3
    _step(axes, timeline, cap_kw, style.INK, "cap", 1.6)
    _step(axes, timeline, power_kw, style.BLUE, "power", 1.1)
    _fill(axes, timeline, cap_kw, power_kw, power_kw > cap_kw, color=style.RED, label="above the cap")
    zero, one, full_height = np.zeros_like(cap_kw), np.ones_like(cap_kw), axes.get_xaxis_transform()
    braked = timeline.braked[:, site] > 0.0
    _fill(axes, timeline, zero, one, braked, color=style.ORANGE, alpha=0.25, transform=full_height, label="power brake")
    axes.set_ylim(bottom=0.0)
    axes.set_xlim(0.0, len(power_kw) * timeline.tick_s)


def _draw_rooms(axes: Axes, timeline: Timeline) -> None:
    for limit_c in set(timeline.room_limit_c.tolist()):
        axes.axhline(limit_c, color=style.INK, linewidth=1.0, linestyle="--")
    for room, name in enumerate(timeline.rooms):
        _step(axes, timeline, timeline.room_c[:, room], _pool_colour(room), name, 1.2)


def _draw_clocks(axes: Axes, timeline: Timeline) -> None:
    last = len(timeline.pools) - 1
    for pool, name in enumerate(timeline.pools):
        # Pools of a site often share a clock: each line is thinner than the one below it, so that both can be seen.
        _step(
            axes,
            timeline,
            timeline.clock_fraction[:, pool],
            _pool_colour(pool),
            name,
            1.1 + 0.8 * (last - pool),
        )
    axes.set_ylim(0.0, 1.05)


def _draw_queues(axes: Axes, timeline: Timeline) -> None:
    held = timeline.held_requests.sum(axis=1)
    if held.any():
        _step(axes, timeline, held, style.QUIET, "deferred", 1.0)
    for pool, name in enumerate(timeline.pools):
        _step(axes, timeline, timeline.queued_requests[:, pool], _pool_colour(pool), name, 1.2)
    axes.set_ylim(bottom=0.0)


def _pool_colour(pool: int) -> str:
    return style.PALETTE[pool % len(style.PALETTE)]


def _step(axes: Axes, timeline: Timeline, values: Float64Array, colour: str, label: str, width: float) -> None:
    """One level per tick, `[H]`, each drawn to the end of its tick."""
    time_s = np.arange(len(values) + 1) * timeline.tick_s
    level = np.append(values, values[-1])
    axes.plot(time_s, level, color=colour, linewidth=width, drawstyle="steps-post", label=label)


def _fill(
    axes: Axes, timeline: Timeline, low: Float64Array, high: Float64Array, where: NDArray[np.bool_], **options: Any
) -> None:
    """The area between two levels in the ticks `where` it is asked for, `[H]` each."""
    edges_s = np.arange(len(low) + 1) * timeline.tick_s
    axes.stairs(np.where(where, high, np.nan), edges_s, baseline=low, fill=True, linewidth=0, **options)
