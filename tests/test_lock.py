"""A folder has one writer, and a lock outlives nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenfleet.configs.lock import LOCK_FILE, has_writer, only_writer
from tokenfleet.envs.spec import SpecError


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        assert has_writer(tmp_path)
        with pytest.raises(SpecError, match="is being written by another process"), only_writer(tmp_path):
            pass
        assert has_writer(tmp_path)
    assert not has_writer(tmp_path)


def test_a_writer_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), only_writer(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_lock_file_of_a_killed_writer_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).touch()
    assert not has_writer(tmp_path)
    assert (tmp_path / LOCK_FILE).exists()
    with only_writer(tmp_path):
        pass


def test_a_lock_on_a_file_that_its_owner_has_removed_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    first = only_writer(tmp_path)
    first.__enter__()
    original = fcntl.flock

    def owner_ends_first(file: object, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", original)
        first.__exit__(None, None, None)
        original(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", owner_ends_first)
    with only_writer(tmp_path):
        assert has_writer(tmp_path)
