"""`progress.csv`: one row per log, columns added as they appear, and a content that snapshots restore."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger

from tokenfleet.envs.files.writing import replace_file

TIME = "time/"
"""Columns with this prefix depend on the clock; all others are the same whenever the run is repeated."""


class ProgressLog(KVWriter):
    """Writes rows to a CSV file; for a new column it writes the whole file again.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        self._rows: list[dict[str, str]] = []
        self.restore("")

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row of everything that is a number."""
        row = {"steps": str(step)}
        for key, value in sorted(key_values.items()):
            if "csv" not in (key_excluded.get(key) or ()) and isinstance(value, (int, float)):
                row[key] = _digits(value)
        self._rows.append(row)
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            replace_file(self.path, self.content().encode())
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)

    def content(self) -> str:
        """The whole file."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return text.getvalue()

    def restore(self, content: str) -> None:
        """Go back to an earlier content."""
        reader = csv.DictReader(io.StringIO(content))
        self._columns = list(reader.fieldnames or [])
        self._rows = [{name: value for name, value in row.items() if value != ""} for row in reader]
        replace_file(self.path, content.encode())

    def close(self) -> None:
        """Nothing stays open between rows."""


def unwritten(logger: Logger) -> dict[str, list[Any]]:
    """The numbers of the next row: for each its digits, how many values it averages, and which writers leave it out."""
    return {
        name: [_digits(value), logger.name_to_count[name], list(logger.name_to_excluded.get(name) or ())]
        for name, value in logger.name_to_value.items()
        if isinstance(value, (int, float))
    }


def restore_unwritten(logger: Logger, numbers: Mapping[str, Any]) -> None:
    """The inverse of `unwritten`."""
    for name, (digits, count, excluded) in numbers.items():
        logger.name_to_value[name] = int(digits) if digits.lstrip("-").isdigit() else float(digits)
        logger.name_to_count[name] = count
        logger.name_to_excluded[name] = tuple(excluded)


def _digits(value: float) -> str:
    """A number that can be read back to the bit, and whether it was a whole one."""
    return repr(float(value)) if isinstance(value, float) else repr(int(value))
