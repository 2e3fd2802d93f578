"""What the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import Outcome, Run, exit_code

ENGINE = "native"


@pytest.fixture
def engine() -> str:
    """The engine that environment tests run on; `tests/engine` holds it to the reference."""
    return ENGINE


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A function that runs what is typed, `train ...` or `evaluate ...`, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(typed: str) -> Outcome:
        capfd.readouterr()
        return Outcome(exit_code(typed, monkeypatch), *capfd.readouterr())

    return run
