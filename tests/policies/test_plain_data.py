"""A folder is written whole or not at all, and spaces survive as plain data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tokenfleet.policies.learned.plain_data import recover_folder, write_folder
from tokenfleet.policies.learned.spaces import space_from_plain, space_to_plain


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_crash_while_writing_leaves_a_whole_folder(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the call at which the process dies, the old or the new content is there afterwards."""
    folder = tmp_path / "checkpoint"
    old, new = {"a": b"old", "b": b"old"}, {"a": b"new", "b": b"new"}
    deaths = 0
    for fatal in range(10):
        write_folder(folder, old)
        module = __import__("os") if moment == "fsync" else Path
        original, calls = getattr(module, moment), iter(range(100))

        def dies(*arguments: Any, _original: Any = original, _calls: Any = calls, _fatal: int = fatal) -> Any:
            if next(_calls) == _fatal:
                raise KeyboardInterrupt
            return _original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, moment, dies)
            try:
                write_folder(folder, new)
                died = False
            except KeyboardInterrupt:
                died = True
        recover_folder(folder)
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found in ((old, new) if died else (new,))
        deaths += died
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert 0 < deaths < 10  # some of the moments were fatal, and some came after the end


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, 1.0, (3, 2), np.float32),
        spaces.Box(np.array([0.0, -np.inf]), np.array([np.inf, 5.0]), dtype=np.float64),
        spaces.Box(0, 255, (8, 8, 3), np.uint8),
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (2,))}),
    ],
)
def test_spaces_survive_json(space: gymnasium.Space[Any]) -> None:
    assert space_from_plain(json.loads(json.dumps(space_to_plain(space)))) == space
