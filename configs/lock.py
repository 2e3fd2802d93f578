"""The lock of a job's folder: one process writes to it at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tokenfleet.envs.spec import SpecError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make sure that no other process writes to this folder; the lock vanishes with the process, however it ends.

    Raises:
        SpecError: another process does.
    """
    path = folder / LOCK_FILE
    file = _locked(path)
    try:
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)  # while it is held, so that nobody's lock is removed but this one
            file.close()


def has_writer(folder: Path) -> bool:
    """Whether a process writes to this folder at this moment; leaves the folder as it is."""
    path = folder / LOCK_FILE
    if not path.is_file():
        return False
    try:
        import fcntl
    except ImportError:
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _locked(path: Path) -> IO[str] | None:
    """The file with an exclusive lock on it; None where the operating system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            hint = "wait for it, stop it, or choose another folder"
            raise SpecError([f"{path.parent}: is being written by another process; {hint}"]) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # its last owner removed it between the opening and the lock
