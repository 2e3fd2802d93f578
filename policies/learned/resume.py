"""Snapshots of a run: there is always a whole one, at whatever moment the process dies.

A snapshot is a folder `snapshots/<environment steps>` with `state.json`, `state.safetensors` and their hashes. A
snapshot is written under another name, flushed to disk and renamed. The newest and the one before it are kept, so that
damage to the newest costs time and not the run.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.hashed_folder import read_hashed_folder, write_hashed_folder
from tokenfleet.policies.learned.layout import SNAPSHOTS
from tokenfleet.policies.learned.plain_data import decode_arrays, encode_arrays, json_bytes, pack, parse_json, unpack

STATE_FILE, ARRAYS_FILE = "state.json", "state.safetensors"
FORMAT_VERSION = 2
_KEPT = 2
log = logging.getLogger(__name__)


class Snapshots:
    """The snapshots of one run.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / SNAPSHOTS

    def write(self, steps: int, state: Mapping[str, Any]) -> None:
        """Add a snapshot; it and the one before it stay.

        Raises:
            SpecError: the environment's state holds something that is neither plain data nor an array.
        """
        try:
            skeleton, arrays = pack(state)
        except TypeError as error:
            raise SpecError([f"env: the state that get_state gives cannot be kept ({error})"]) from None
        description = {"format_version": FORMAT_VERSION, "state": skeleton}
        files = {ARRAYS_FILE: encode_arrays(arrays), STATE_FILE: json_bytes(description)}
        written = self.folder / f"{steps:012d}"
        write_hashed_folder(written, files)
        folders = self._folders()
        # A snapshot of later steps was found damaged: the run has gone back to one before it.
        earlier = [folder for folder in folders if folder.name < written.name]
        for folder in folders:
            if folder not in (written, *earlier[: _KEPT - 1]):
                shutil.rmtree(folder)
        for interrupted in self.folder.glob(".*"):
            shutil.rmtree(interrupted)

    def newest(self) -> dict[str, Any] | None:
        """The state of the newest whole snapshot; None where there is none yet. Damage to a newer one is logged.

        Raises:
            SpecError: every snapshot is damaged.
        """
        problems: list[str] = []
        for folder in self._folders():
            try:
                state = _read(folder)
            except SpecError as error:
                problems += error.problems
                continue
            for line in problems:
                log.warning("%s; going on from the snapshot before it, %s", line, folder)
            return state
        if problems:
            hint = f"delete {self.folder} to train again from the first step, or start a new run"
            raise SpecError([*(f"resume: {line}" for line in problems), f"resume: no snapshot is whole; {hint}"])
        return None

    def _folders(self) -> list[Path]:
        """Snapshots that were written completely, the newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if path.name.isdigit()), reverse=True)


def _read(folder: Path) -> dict[str, Any]:
    files = read_hashed_folder(folder, (STATE_FILE, ARRAYS_FILE))
    description = parse_json(files[STATE_FILE], folder / STATE_FILE)
    if description.get("format_version") != FORMAT_VERSION:
        raise SpecError([f"{folder}: was written by another version of tokenfleet, which alone can go on from it"])
    try:
        state = unpack(description["state"], decode_arrays(files[ARRAYS_FILE], folder / ARRAYS_FILE))
    except KeyError as error:
        raise SpecError([f"{folder}: lacks {error}"]) from None
    if not isinstance(state, dict):
        raise SpecError([f"{folder}: holds no training state"])
    return state
