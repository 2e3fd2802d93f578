"""The command of this package, typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.command_line import Outcome
from tokenfleet.envs.fitting.__main__ import main

Fit = Callable[[str], Outcome]


def typed_into(capsys: pytest.CaptureFixture[str]) -> Fit:
    """A function that runs the command in this folder, and says how it ended and what it printed."""

    def fit(typed: str) -> Outcome:
        capsys.readouterr()
        try:
            code = main(typed.split())
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        return Outcome(code, *capsys.readouterr())

    return fit
