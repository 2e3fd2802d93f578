"""Records that are kept as one `.npz`, an array for each field."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from tokenfleet.envs.files import read_arrays
from tokenfleet.envs.files.limits import SESSION_BYTES
from tokenfleet.envs.spec import SpecError, suggest


def stored_columns(path: Path, record: type[Any], holds: str) -> dict[str, Any]:
    """The array of each field of `record`, by name.

    Args:
        path: of the archive.
        record: a dataclass.
        holds: what such an archive holds, for the message.

    Raises:
        SpecError: the file is no such archive, or lacks a field.
    """
    stored = read_arrays(path, SESSION_BYTES)
    names = [column.name for column in fields(record)]
    if missing := [name for name in names if name not in stored]:
        hint = suggest(missing[0], stored)
        raise SpecError([f"{path}: holds no {holds}: column {missing[0]!r} is missing{hint}"])
    return {name: stored[name] for name in names}
