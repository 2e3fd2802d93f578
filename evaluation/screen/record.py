"""Everything that a screen has measured, in one JSON file: a resumed screen measures nothing twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.spec import SpecError, shown


class MeasurementFile:
    """A file of measurements by name; every new one is on disk before the next begins.

    Args:
        path: of the file; its folder is made.
        header: what the screen is of: a file with another header is refused.

    Raises:
        SpecError: the file is of another screen, or not one of a screen, or cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        self._data: dict[str, Any] = {"header": dict(header), "elapsed_s": 0.0, "measured": {}}
        if path.exists():
            found = read_record(path)
            for name, value in header.items():
                if found["header"].get(name) != value:
                    before = shown(found["header"].get(name))
                    problem = f"{path}: holds a screen with {name} {before}, not {shown(value)}"
                    raise SpecError([f"{problem}; choose another --out, or delete the file"])
            self._data = found
        self._before_s = float(self._data["elapsed_s"])
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Time of the screen, killed runs included up to their last measurements [s]."""
        return self._before_s + time.monotonic() - self._began

    def once(self, name: str, measure: Callable[[], Any]) -> Any:
        """The measurement of this name, plain data: from the file, else from `measure`."""
        measured: dict[str, Any] = self._data["measured"]
        if name not in measured:
            self.keep(name, measure())
        return measured[name]

    def keep(self, name: str, value: Any) -> None:
        """Put a measurement on file."""
        self._data["measured"][name] = value
        self._save()

    def measured(self, name: str) -> Any:
        """A measurement that is on file."""
        return self._data["measured"][name]

    def names(self) -> list[str]:
        """What has been measured."""
        return [name for name, value in self._data["measured"].items() if value is not None]

    def conclude(self, card: Mapping[str, Any]) -> None:
        """Add the findings."""
        self._data["card"] = dict(card)
        self._save()

    def _save(self) -> None:
        self._data["elapsed_s"] = self.elapsed_s
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps(_without_nan(self._data), indent=1).encode())
        except OSError as error:
            raise SpecError([f"--out: cannot write {self._path}: {error.strerror or error}"]) from None


def read_record(path: Path) -> dict[str, Any]:
    """What the file of a screen holds.

    Raises:
        SpecError: it cannot be read, or is not of a screen.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except ValueError as error:
        raise SpecError([f"{path}: is not JSON ({error}); choose another --out, or delete the file"]) from None
    if not (isinstance(data, dict) and {"header", "elapsed_s", "measured"} <= data.keys()):
        raise SpecError([f"{path}: is not the file of a screen; choose another --out"])
    return data


def _without_nan(value: Any) -> Any:
    """Plain data with null for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
