"""Snapshots are whole whatever the moment of death, and damage to one is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.policies.interruptions import PowerCut, damage
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned import resume
from tokenfleet.policies.learned.resume import Snapshots


def test_there_is_a_whole_snapshot_whatever_the_moment_of_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.write(1, {"value": np.array([1])})
    newest, deaths = 1, 0
    for fatal in range(12):
        calls = iter(range(100))

        def dies(original: Any, _calls: Any = calls, _fatal: int = fatal) -> Any:
            def wrapped(*arguments: Any, **keywords: Any) -> Any:
                if next(_calls) == _fatal:
                    raise PowerCut
                return original(*arguments, **keywords)

            return wrapped

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", dies(__import__("os").fsync))
            patch.setattr(Path, "rename", dies(Path.rename))
            patch.setattr(Path, "mkdir", dies(Path.mkdir))
            patch.setattr(resume.shutil, "rmtree", dies(resume.shutil.rmtree))
            try:
                snapshots.write(2 + fatal, {"value": np.array([2 + fatal])})
                allowed = [2 + fatal]
            except PowerCut:
                deaths += 1
                allowed = [newest, 2 + fatal]
        found = snapshots.newest()
        assert found is not None
        newest = int(found["value"][0])
        assert newest in allowed
    assert deaths >= 5


SNAPSHOT_FILES = ("state.json", "state.safetensors", "SHA256SUMS")


@pytest.mark.parametrize("name", SNAPSHOT_FILES)
def test_damage_to_the_newest_snapshot_is_said_and_the_one_before_it_is_taken(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = Snapshots(tmp_path)
    assert snapshots.newest() is None
    for steps in (1, 2, 3):
        snapshots.write(steps, {"value": np.array([steps])})
    kept = sorted((tmp_path / "snapshots").iterdir())
    assert [int(folder.name) for folder in kept] == [2, 3]
    damage(kept[1] / name)
    found = snapshots.newest()
    assert found is not None
    assert found["value"] == [2]
    assert f"{name}: does not match its" in caplog.text
    assert f"going on from the snapshot before it, {kept[0]}" in caplog.text
    damage(kept[0] / name)
    with pytest.raises(SpecError, match="no snapshot is whole") as refused:
        snapshots.newest()
    assert [f"{folder / name}:" in str(refused.value) for folder in kept] == [True, True]


def test_a_run_that_went_back_removes_the_damaged_snapshot_when_it_has_a_new_one(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    for steps in (10, 20):
        snapshots.write(steps, {"value": steps})
    damage(tmp_path / "snapshots" / "000000000020" / "state.json")
    snapshots.write(15, {"value": 15})
    assert [int(folder.name) for folder in sorted((tmp_path / "snapshots").iterdir())] == [10, 15]


def test_a_state_that_is_no_plain_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"get_state gives cannot be kept \(object cannot be stored"):
        Snapshots(tmp_path).write(1, {"environment": object()})
