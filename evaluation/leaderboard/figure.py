"""How far the learned policies are ahead, scenario by scenario, and how they were learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tokenfleet.evaluation.leaderboard.standings import Standing
from tokenfleet.evaluation.screen.conclusions import CONSTANTS, FEEDBACK
from tokenfleet.evaluation.style import BLUE, GREEN, INK, MUTED, ORANGE, house_style, new_figure, only_grid, save

KINDS = (("best shipped rule", BLUE), ("best published controller", GREEN), ("constants, same budget", ORANGE))
"""The rivals in the order of `Standing.rivals`."""
CURVES = ((CONSTANTS, ORANGE), (FEEDBACK, BLUE))
"""The methods whose learning curves are drawn."""
COLUMNS = 5
"""Scenarios in a row of the figure of curves."""


def draw_standings(rows: Sequence[Standing], path: Path) -> Path:
    """Paired differences of the learned policies to each rival with 95 % intervals, as shares of the learned value."""
    with house_style():
        figure, axes = new_figure(1, 1, 8.4, 1.5 + 0.52 * len(rows))
        ax = axes[0, 0]
        ax.axvline(0.0, color=INK, linewidth=1.0)
        for row, one in enumerate(rows):
            unit = one.learned.estimate / 100.0
            for place, (rival, (_, colour)) in enumerate(zip(one.rivals, KINDS, strict=True)):
                y = row + 0.24 * (place - 1)
                ax.plot([rival.ahead.low / unit, rival.ahead.high / unit], [y, y], color=colour, linewidth=2.4)
                ax.plot(rival.ahead.estimate / unit, y, "o", color=colour, markersize=4.5)
        for name, colour in KINDS:
            ax.plot([], [], "o-", color=colour, label=name)
        ax.set_yticks(range(len(rows)), [one.scenario for one in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel(
            "learned policies ahead, % of their net value; 95 % intervals over training seeds and test episodes"
        )
        ax.set_title("Learned policies against the best of each kind, on test episodes")
        ax.legend(loc="lower right", title="against", title_fontsize=9.0, labelcolor=MUTED)
        only_grid(ax, "x")
        return save(figure, path)


def draw_curves(rows: Sequence[Standing], path: Path) -> Path:
    """Learning curves of feedback and of the constants: every training seed pale, their mean above them."""
    with house_style():
        lines = -(-len(rows) // COLUMNS)
        figure, axes = new_figure(lines, COLUMNS, 2.3 * COLUMNS, 2.3 * lines)
        for ax, one in zip(axes.flat, rows, strict=False):
            for method, colour in CURVES:
                episodes = [done / 1_000 for done, _ in one.curves[0][method]]
                usd = np.array([[value for _, value in curves[method]] for curves in one.curves])
                gains = usd - usd[:, :1]
                ax.plot(episodes, gains.T, color=colour, linewidth=0.8, alpha=0.3)
                ax.plot(episodes, gains.mean(axis=0), color=colour, linewidth=2.0, label=method)
            ax.set_title(one.scenario)
        for ax in axes.flat[len(rows) :]:
            ax.set_visible(False)
        axes[0, 0].legend(loc="lower right")
        figure.supxlabel("training episodes, thousands")
        figure.supylabel("gain in validation, USD an episode")
        return save(figure, path)
