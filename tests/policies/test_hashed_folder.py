"""One changed byte of any file is noticed, and its file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.hashed_folder import HASHES_FILE, read_hashed_folder, write_hashed_folder

FILES = {"state.json": b'{"a": 1.25}\n', "state.safetensors": bytes(range(40))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_hashed_folder(tmp_path / "snapshot", FILES)
    return tmp_path / "snapshot"


def test_what_was_written_is_read(folder: Path) -> None:
    assert read_hashed_folder(folder, FILES) == FILES


@pytest.mark.parametrize("name", [*FILES, HASHES_FILE])
def test_every_byte_is_guarded(name: str, folder: Path) -> None:
    sound = (folder / name).read_bytes()
    for place in range(len(sound)):
        for bits in (0x01, 0x20, 0x80, 0xFF):
            damaged = bytearray(sound)
            damaged[place] ^= bits
            (folder / name).write_bytes(damaged)
            with pytest.raises(SpecError, match=rf"{name}: does not match its (own )?hash") as noticed:
                read_hashed_folder(folder, FILES)
            assert len(noticed.value.problems) == 1


@pytest.mark.parametrize("name", [*FILES, HASHES_FILE])
@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_file_that_lost_its_content_or_grew_is_named(name: str, content: bytes, folder: Path) -> None:
    for damaged in (content, (folder / name).read_bytes() + content + b"x"):
        (folder / name).write_bytes(damaged)
        with pytest.raises(SpecError, match=f"{name}: does not match"):
            read_hashed_folder(folder, FILES)


def test_a_folder_without_hashes_is_not_read(folder: Path) -> None:
    (folder / HASHES_FILE).unlink()
    with pytest.raises(SpecError, match="has no SHA256SUMS; it is incomplete, or of an earlier tokenfleet"):
        read_hashed_folder(folder, FILES)


def test_a_list_of_other_files_is_refused(tmp_path: Path) -> None:
    write_hashed_folder(tmp_path / "more", {**FILES, "more": b""})
    with pytest.raises(SpecError, match=r"SHA256SUMS: lists other files than state\.json, state\.safetensors"):
        read_hashed_folder(tmp_path / "more", FILES)
