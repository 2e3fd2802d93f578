"""Runs of the entry scripts in processes with loaded libraries, which can be killed at any moment."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from tokenfleet.cli.runs import COMPLETE, is_run, run_status

_PROCESSES = multiprocessing.get_context("forkserver")
Wait = Callable[[BaseProcess, Path], object]
"""Waits for the moment to kill a process that writes to a folder, or until the process has ended."""


def load_libraries(modules: Sequence[str]) -> None:
    """Start the process that all others are forked from, and wait until it is ready: the length of runs is measured.

    Args:
        modules: what every run would spend its first seconds on.
    """
    _PROCESSES.set_forkserver_preload(list(modules))
    process = _PROCESSES.Process(target=int)
    process.start()
    process.join()


def start(script: str, arguments: Sequence[str], folder: Path) -> BaseProcess:
    """Begin a run, or go on with the one that the folder holds.

    Args:
        script: `train` or `evaluate`.
        arguments: what a new run is told.
        folder: of the run; what it prints goes to a file beside the folder.
    """
    words = (f"resume={folder}",) if is_run(folder) else (*arguments, f"hydra.run.dir={folder}")
    process = _PROCESSES.Process(target=_run, args=(script, words, _output(folder)))
    process.start()
    return process


def kill_when(wait: Wait, script: str, arguments: Sequence[str], folder: Path) -> int | None:
    """As `start`, and a SIGKILL when the wait is over; None, or the exit status of a process that ended before."""
    process = start(script, arguments, folder)
    wait(process, folder)
    if process.exitcode is not None:
        return process.exitcode
    process.kill()
    process.join()
    return None


def finish(script: str, arguments: Sequence[str], folder: Path) -> int:
    """As `start`, to the end; the exit status."""
    process = start(script, arguments, folder)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def is_complete(folder: Path) -> bool:
    """Whether a run is done; a kill may have met a process that had nothing left to do."""
    return is_run(folder) and run_status(folder) == COMPLETE


def last_line(folder: Path) -> str:
    """What a run printed last."""
    lines = _output(folder).read_text(errors="replace").splitlines()
    return lines[-1] if lines else "no output"


def _run(script: str, words: Sequence[str], output: Path) -> None:
    with output.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.argv = [f"{script}.py", *words]
    importlib.import_module(f"tokenfleet.{script}").main()


def _output(folder: Path) -> Path:
    return folder.with_suffix(".txt")
