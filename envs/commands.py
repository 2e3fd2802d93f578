"""How a command ends: a mistake of its user is a line each on standard error, and an exit status of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tokenfleet.envs.spec import SpecError

USER_MISTAKE = 2
"""Exit status of a command that was told something wrong."""


def exit_status(work: Callable[[], object]) -> int:
    """Do the work of a command and answer with its exit status: 0, or `USER_MISTAKE` after a `SpecError`."""
    try:
        work()
    except SpecError as error:
        print(error, file=sys.stderr)
        return USER_MISTAKE
    return 0
