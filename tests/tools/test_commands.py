"""A command that is asked for help explains itself, and does nothing else."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.sources import SCRIPTS, modules

COMMANDS = [
    name
    for name, path in modules(["calibration", "benchmarks", "tools"]).items()
    if path.name not in SCRIPTS
    and any(
        isinstance(part, ast.If) and "__main__" in ast.unparse(part.test) for part in ast.parse(path.read_text()).body
    )
]


def test_the_commands_are_found() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed_and_nothing_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(command).main
    monkeypatch.setattr("sys.argv", [command, "--help"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
