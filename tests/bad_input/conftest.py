"""What is there to be used wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import QUICK, exit_code


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `scenario=tiny` that is complete."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        assert exit_code(f"train {QUICK} scenario=tiny scenario.horizon_ticks=20 hydra.run.dir=run", monkeypatch) == 0
    return folder / "run"
