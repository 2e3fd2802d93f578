"""Files that are written whole or not at all: beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Where to write what becomes the file `path` at the end; an error leaves the file as it was.

    Raises:
        OSError: the place cannot be written.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        yield draft
        sync_file(draft)
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it holds either its old content or the new, and is on disk when this returns."""
    with replaced(path) as draft:
        draft.write_bytes(content)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the operating system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
