"""Snapshots of a run: there is always a whole one, whatever the moment at which the process dies.

A snapshot is a folder `snapshots/<environment steps>` with `state.json` and `state.safetensors`. It is written under
another name, flushed to disk and renamed; only then is the one before it removed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.plain_data import (
    decode_arrays,
    encode_arrays,
    json_bytes,
    pack,
    read_bytes,
    read_json,
    sha256,
    unpack,
    write_folder,
)

SNAPSHOTS = "snapshots"
STATE_FILE, ARRAYS_FILE = "state.json", "state.safetensors"
FORMAT_VERSION = 2
_LOCK = ".lock"


class Snapshots:
    """The snapshots of one run.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / SNAPSHOTS

    def write(self, steps: int, state: Mapping[str, Any]) -> None:
        """Add a snapshot and remove the older ones.

        Raises:
            SpecError: the environment's state holds something that is neither plain data nor an array.
        """
        try:
            skeleton, arrays = pack(state)
        except TypeError as error:
            raise SpecError([f"env: the state that get_state gives cannot be kept ({error})"]) from None
        content = encode_arrays(arrays)
        description = {"format_version": FORMAT_VERSION, "arrays_sha256": sha256(content), "state": skeleton}
        written = self.folder / f"{steps:012d}"
        write_folder(written, {ARRAYS_FILE: content, STATE_FILE: json_bytes(description)})
        for older in self._folders():
            if older != written:
                shutil.rmtree(older)

    def newest(self) -> dict[str, Any] | None:
        """The state of the newest whole snapshot; None where there is none yet.

        Raises:
            SpecError: every snapshot is damaged.
        """
        problems: list[str] = []
        for folder in self._folders():
            try:
                return _read(folder)
            except SpecError as error:
                problems += error.problems
        if problems:
            raise SpecError([f"resume: {line}" for line in problems])
        return None

    def _folders(self) -> list[Path]:
        """Whole snapshots, the newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if path.name.isdigit()), reverse=True)


@contextlib.contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Make sure that no other process writes to this run; the lock vanishes with the process, however it ends.

    Raises:
        SpecError: another process does.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this operating system
        yield
        return
    with (run / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError([f"resume: {run} is being written by another process; wait for it or stop it"]) from None
        yield


def _read(folder: Path) -> dict[str, Any]:
    description = read_json(folder / STATE_FILE)
    content = read_bytes(folder / ARRAYS_FILE)
    if description.get("format_version") != FORMAT_VERSION or sha256(content) != description.get("arrays_sha256"):
        raise SpecError([f"{folder}: is damaged, or of another version"])
    try:
        state = unpack(description["state"], decode_arrays(content, folder / ARRAYS_FILE))
    except KeyError as error:
        raise SpecError([f"{folder}: lacks {error}"]) from None
    if not isinstance(state, dict):
        raise SpecError([f"{folder}: holds no training state"])
    return state
