"""The heat map of contenders and scenarios."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tokenfleet.evaluation.contenders.matrix import ResultMatrix
from tokenfleet.evaluation.style import INK, house_style, new_figure, save

WORST_PERCENT = 50.0
"""Where the scale of colours begins."""


def draw_matrix(matrix: ResultMatrix, path: Path) -> Path:
    """Mean net value over the best one of each scenario, policies ordered by their interquartile mean [%]."""
    order = matrix.ranking()
    percent = np.array([[matrix.percent(policy, scenario) for scenario in matrix.scenarios] for policy in order])
    with house_style():
        figure, axes = new_figure(1, 1, 2.6 + 0.52 * len(matrix.scenarios), 1.6 + 0.24 * len(order))
        ax = axes[0, 0]
        image = ax.imshow(percent, cmap="viridis", vmin=WORST_PERCENT, vmax=100.0, aspect="auto")
        for row, values in enumerate(percent):
            for column, value in enumerate(values):
                text = "-" if np.isnan(value) else f"{value:.0f}"
                shade = "white" if np.isnan(value) or value < 80.0 else INK
                ax.text(column, row, text, ha="center", va="center", fontsize=7, color=shade)
        ax.set_xticks(range(len(matrix.scenarios)), matrix.scenarios, rotation=50, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(order)), [f"{name}  {matrix.overall(name):.0f}" for name in order])
        ax.grid(False)
        ax.set_title("Net value, % of the best of each scenario; interquartile mean beside the name")
        figure.colorbar(image, ax=ax, shrink=0.4)
        return save(figure, path)
