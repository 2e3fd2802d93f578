"""`train.py` and `evaluate.py` as their user meets them: what is typed, what is printed, what lies in the folder."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
QUICK = (
    "total_timesteps=64 n_envs=2 algo.n_steps=32 algo.batch_size=64 algo.learning_rate=3e-3 "
    "validation.every=null tracking=none"
)
"""A training run that takes a moment."""
FULL_ERROR = "0"
"""What a person has set `HYDRA_FULL_ERROR` to."""


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    errors: str

    @property
    def lines(self) -> list[str]:
        """Of the error output."""
        return self.errors.splitlines()


Run = Callable[[str], Outcome]


def exit_code(typed: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `train ...` or `evaluate ...` through the script's own `main`.

    Starting Python and importing torch would take most of a test's time.
    """
    script, *arguments = shlex.split(typed)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("HYDRA_FULL_ERROR", FULL_ERROR)  # the script sets it, and reads what a person has set
    try:
        importlib.import_module(f"tokenfleet.{script}").main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def in_a_process_of_its_own(typed: str, folder: Path) -> Outcome:
    """Run `python train.py ...` or `python evaluate.py ...` in `folder`."""
    script, *arguments = shlex.split(typed)
    command = [sys.executable, str(ROOT / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    return Outcome(done.returncode, done.stdout, done.stderr)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: files with their content, folders with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def check_refusal(outcome: Outcome, patterns: Sequence[str]) -> None:
    """Exit status 2, one line for each mistake, and no traceback."""
    assert outcome.code == 2, outcome.errors
    assert "Traceback" not in outcome.out + outcome.errors
    assert len(outcome.lines) == len(patterns), outcome.errors
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in outcome.lines), outcome.errors
