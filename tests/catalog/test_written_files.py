"""Files that a command writes together are all written, or none is."""

from pathlib import Path

import pytest

from tokenfleet.envs.files.entries import write_whole
from tokenfleet.envs.spec import SpecError


def test_a_file_that_cannot_be_written_leaves_none_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    files = {tmp_path / "first": b"1", tmp_path / "deep" / "third": b"3", tmp_path / "second": b"2"}
    with pytest.raises(SpecError, match=r"--out: cannot write .*second \(Is a directory\)"):
        write_whole(files)
    assert [path.name for path in tmp_path.iterdir()] == ["second"]
