"""The heat map of scenarios and kinds of policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tokenfleet.evaluation.generalist.matrix.entrants import COLUMNS
from tokenfleet.evaluation.generalist.matrix.row import Row
from tokenfleet.evaluation.style import INK, MUTED, house_style, new_figure, save

WORST_PERCENT = 50.0
"""Where the scale of colours begins."""


def draw_rows(rows: Sequence[Row], path: Path) -> Path:
    """Mean net value over the best one of each scenario [%]; where nobody acts there is no colour."""
    percent = np.array([[row.percent(column) for column in COLUMNS] for row in rows])
    with house_style():
        figure, axes = new_figure(1, 1, 3.0 + 0.82 * len(COLUMNS), 1.6 + 0.34 * len(rows))
        ax = axes[0, 0]
        ax.set_facecolor("white")
        image = ax.imshow(percent, cmap="viridis", vmin=WORST_PERCENT, vmax=100.0, aspect="auto")
        for place, row in enumerate(rows):
            for column, name in enumerate(COLUMNS):
                value = percent[place, column]
                text = absence(row, name) if np.isnan(value) else f"{value:.0f}"
                shade = MUTED if np.isnan(value) else "white" if value < 80.0 else INK
                ax.text(column, place, text, ha="center", va="center", fontsize=8, color=shade)
        ax.set_xticks(range(len(COLUMNS)), COLUMNS, rotation=30, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(rows)), [row.scenario for row in rows])
        ax.grid(False)
        ax.set_title("Net value on test episodes, % of the best of each scenario")
        figure.colorbar(image, ax=ax, shrink=0.6, label="%")
        return save(figure, path)


def absence(row: Row, column: str) -> str:
    """Why a column has no value in a row."""
    return f"{row.refused[column]} refuse" if row.refused[column] else "none"
