"""The files of a study, in one folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokenfleet.envs.files.writing import sync_file
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.results import EpisodeRow, write_rows
from tokenfleet.evaluation.summary import Summary, summary_csv
from tokenfleet.evaluation.table import table_text
from tokenfleet.evaluation.timeline import Timeline, write_timelines

ROWS, SUMMARY, TABLE, TIMELINE, FIGURES = "episodes", "summary.csv", "table.txt", "timeline.csv", "figures"


def save_study(
    folder: Path,
    rows: Sequence[EpisodeRow],
    summary: Summary,
    timelines: Sequence[Timeline],
    *,
    formats: Sequence[str] = ("parquet", "csv"),
    texts: Mapping[str, str] | None = None,
    draw: Callable[[Path], None] | None = None,
) -> None:
    """Write everything: no file is moved to its place before all are written and on disk.

    Args:
        folder: of the study; one process at a time. Files of an earlier study are replaced.
        rows: one file per format.
        summary: of the rows.
        timelines: of one episode; none for an environment that is not a fleet.
        formats: `parquet`, `csv` or both.
        texts: further files by name, for example the configuration.
        draw: writes figures into a folder.

    Raises:
        SpecError: the folder cannot be written.
    """
    with _all_or_nothing(folder) as partial:
        for suffix in formats:
            write_rows(partial / f"{ROWS}.{suffix}", rows)
        written = {SUMMARY: summary_csv(summary), TABLE: table_text(summary), **(texts or {})}
        for name, text in written.items():
            (partial / name).write_text(text, encoding="utf-8")
        if timelines:
            write_timelines(partial / TIMELINE, timelines)
        if draw is not None:
            (partial / FIGURES).mkdir()
            draw(partial / FIGURES)


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to write into, whose files move to `folder` at the end, or vanish."""
    partial = folder / ".partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(parents=True)
        yield partial
        for written in partial.rglob("*"):
            if written.is_file():
                sync_file(written)
        for written in sorted(partial.iterdir()):
            if (folder / written.name).is_dir():
                shutil.rmtree(folder / written.name)
            os.replace(written, folder / written.name)
    except OSError as error:
        raise SpecError([f"results: cannot write {folder}: {error.strerror or error}"]) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
