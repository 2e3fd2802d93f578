"""How a command begins and ends: the path that it takes, and how it answers a mistake of its user."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tokenfleet.envs.spec import SpecError

USER_MISTAKE = 2
"""Exit status of a command that was told something wrong."""


def typed_path(about: str | None, meaning: str) -> Path:
    """The one path that a command takes; `--help` and any other option ends the process, as argparse does.

    Args:
        about: what `--help` prints, the docstring of the command.
        meaning: of the path.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help=meaning)
    path: Path = parser.parse_args().path
    return path


def exit_status(work: Callable[[], object]) -> int:
    """Do the work of a command and answer with its exit status: 0, or `USER_MISTAKE` after a `SpecError`.

    Every problem of the error is a line on standard error.
    """
    try:
        work()
    except SpecError as error:
        print(error, file=sys.stderr)
        return USER_MISTAKE
    return 0
