"""The folders that a start makes, and takes back if it comes to nothing.

The folder of a single run is made here, after the configuration is checked. Hydra makes the folder of a sweep, with a
record and logs, before it looks at the first job, and offers no way to check first. So folders made for nothing are
removed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from tokenfleet.envs.spec import SpecError

SWEEP_FILE = "multirun.yaml"
_made: list[Path] = []


def remember_missing(folder: Path) -> None:
    """Note which of a folder and its parents are not there yet."""
    folder = folder.absolute()
    _made[:] = [path for path in (folder, *folder.parents) if not path.exists()]


def make_folder(folder: Path) -> None:
    """Make the folder of a run.

    Raises:
        SpecError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError([f"hydra.run.dir: cannot make {folder} ({error.strerror}); choose another folder"]) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SpecError([f"hydra.run.dir: cannot write to {folder}; choose another folder"])


def take_back(job_folder: Path | None = None) -> None:
    """Remove the folders of a job that could not begin: its log, empty folders, and a sweep without jobs."""
    with contextlib.suppress(OSError):  # a folder that is not empty stays
        if job_folder is not None:
            _remove_logs(job_folder)
            if _is_sweep():
                job_folder.rmdir()
        for folder in _made:
            if [path.name for path in folder.iterdir()] == [SWEEP_FILE]:
                (folder / SWEEP_FILE).unlink()
            folder.rmdir()


def _remove_logs(folder: Path) -> None:
    """Remove empty logs, and those of a new folder that holds nothing else.

    Hydra opens the log before the job begins. Opened at its first line (`delay`), it would be looked for in a folder
    that is gone whenever the process goes on to something else.
    """
    files = list(folder.iterdir())
    is_bare = (folder.absolute() in _made or _is_sweep()) and all(file.suffix == ".log" for file in files)
    for file in files:
        if file.suffix == ".log" and (is_bare or file.stat().st_size == 0):
            file.unlink()


def _is_sweep() -> bool:
    """Whether Hydra has made the folder of the job, and not this program."""
    return HydraConfig.get().mode is RunMode.MULTIRUN
