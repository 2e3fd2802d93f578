"""The command, in a folder of its own."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.command_line import Outcome
from tests.demand.recordings import Do
from tokenfleet.envs.demand.__main__ import main


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Do:
    """A function that runs the command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def do(typed: str) -> Outcome:
        capsys.readouterr()
        try:
            code = main(shlex.split(typed))
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        return Outcome(code, *capsys.readouterr())

    return do
