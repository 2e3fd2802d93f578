"""How far learned policies are ahead of the best rule under every shift."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tokenfleet.evaluation.robustness.matrix import Cell, verdict
from tokenfleet.evaluation.style import INK, MUTED, house_style, new_figure, save

MOST_PERCENT = 40.0
"""Where the scale of colours ends, either way."""


def draw_cells(cells: Sequence[Cell], path: Path) -> Path:
    """The lead over the best rule as a share of the better one's value [%]; brackets where its interval holds zero."""
    scenarios = list(dict.fromkeys(cell.scenario for cell in cells))
    shifts = list(dict.fromkeys(cell.shift for cell in cells))
    at = {(cell.scenario, cell.shift): cell for cell in cells}
    percent = np.array(
        [[at[row, shift].percent if (row, shift) in at else np.nan for shift in shifts] for row in scenarios]
    )
    with house_style():
        figure, axes = new_figure(1, 1, 2.4 + 0.78 * len(shifts), 1.7 + 0.36 * len(scenarios))
        ax = axes[0, 0]
        ax.set_facecolor("white")
        image = ax.imshow(percent, cmap="RdBu", vmin=-MOST_PERCENT, vmax=MOST_PERCENT, aspect="auto")
        for row, scenario in enumerate(scenarios):
            for column, shift in enumerate(shifts):
                found = at.get((scenario, shift))
                text, shade = ("as it is", MUTED) if found is None else (_text(found), _shade(found))
                ax.text(column, row, text, ha="center", va="center", fontsize=8, color=shade)
        ax.set_xticks(range(len(shifts)), shifts, rotation=30, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(scenarios)), scenarios)
        ax.grid(False)
        ax.set_title("Learned policies ahead of the best rule, % of the better one's net value")
        figure.colorbar(image, ax=ax, shrink=0.7, label="%")
        return save(figure, path)


def _text(cell: Cell) -> str:
    text = f"{cell.percent:+.0f}"
    return f"({text})" if verdict(cell.ahead) == "level" else text


def _shade(cell: Cell) -> str:
    return "white" if abs(cell.percent) > 0.7 * MOST_PERCENT else INK
