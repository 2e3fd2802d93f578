"""Learning curves from `progress.csv` of a training run: how its episodes and its validation went over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import csv_rows
from tokenfleet.envs.spec import SpecError

Float64Array = NDArray[np.float64]

PROGRESS_FILE = "progress.csv"
PROGRESS_ROWS = 100_000
"""Most rows that are read."""
STEPS = "steps"
TRAINING, VALIDATION = "episode/", "validation/"
"""Columns of recent training episodes (means over the last hundred), and of the episodes of the validation split."""


def read_progress(run: Path) -> dict[str, Float64Array]:
    """Columns of a run's `progress.csv`, NaN where a row has no such number.

    Raises:
        SpecError: there is no such file, it holds no steps or no episodes, or a cell is no number.
    """
    path = run / PROGRESS_FILE
    try:
        names, *rows = [cells for _, cells in csv_rows(path, PROGRESS_ROWS)] or [[]]
        columns = {
            name: np.array([float(cell or "nan") for cell in column])
            for name, column in zip(names, zip(*rows, strict=True), strict=bool(rows))
        }
    except SpecError:
        raise
    except (ValueError, TypeError) as error:
        raise SpecError([f"{path} is not a log of numbers ({error})"]) from None
    if STEPS not in columns:
        raise SpecError([f"{path} has no rows with a column {STEPS!r}"])
    if not any(name.startswith((TRAINING, VALIDATION)) and np.isfinite(columns[name]).any() for name in columns):
        raise SpecError([f"{path} has no episodes yet"])
    return columns


def curve(progress: Mapping[str, Float64Array], column: str) -> tuple[Float64Array, Float64Array]:
    """Steps and values of the filled rows of a column; both empty without the column."""
    values = progress.get(column, np.full(len(progress[STEPS]), np.nan))
    known = np.isfinite(values)
    return progress[STEPS][known], values[known]
