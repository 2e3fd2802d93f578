"""Entries of the catalogue and traces that a command writes: all of its files whole, or none at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.files.yaml_file import yaml_text
from tokenfleet.envs.spec import SpecError


def check_free(path: Path, force: bool, option: str = "--out") -> None:
    """Refuse to overwrite.

    Raises:
        SpecError: the file is there, and nobody said --force.
    """
    if path.exists() and not force:
        raise SpecError([f"{option}: {path} is already there; choose another name, or overwrite it with --force"])


def write_whole(contents: Mapping[Path, bytes], option: str = "--out") -> list[Path]:
    """Write some files, all or none; folders are made.

    Args:
        contents: path -> what to write.
        option: what chose the place, for the message.

    Raises:
        SpecError: a file cannot be written.
    """
    made = [folder for folder in _folders(contents) if not folder.exists()]
    drafts = {path: path.with_name(f"{path.name}.part") for path in contents}
    try:
        for path, draft in drafts.items():
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(contents[path])
        for path in drafts:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        for path, draft in drafts.items():
            os.replace(draft, path)
    except OSError as error:
        _take_back(drafts.values(), made)
        place = error.filename or next(iter(contents)).parent
        raise SpecError([f"{option}: cannot write {place} ({error.strerror}); choose another folder"]) from None
    return list(drafts)


def entry_text(data: Mapping[str, Any], comment: str = "") -> str:
    """One key a line as the shipped entries have it, its sources below each other."""
    lines = [comment] if comment else []
    for key, value in data.items():
        if key == "sources":
            lines += [f"{key}:", *(f"  - {_flow(str(source), quoted=True)}" for source in value)]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _folders(paths: Iterable[Path]) -> list[Path]:
    """Every folder that the files need, the innermost first."""
    needed = dict.fromkeys(folder for path in paths for folder in path.parents)
    return sorted(needed, key=lambda folder: -len(folder.parts))


def _take_back(drafts: Iterable[Path], made: Sequence[Path]) -> None:
    for draft in drafts:
        with contextlib.suppress(OSError):
            draft.unlink()
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _flow(value: Any, quoted: bool = False) -> str:
    style = '"' if quoted else None
    text = yaml_text(value, default_flow_style=True, width=10**9, allow_unicode=True, default_style=style)
    return text.removesuffix("\n").removesuffix("\n...")
