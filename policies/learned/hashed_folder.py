"""Folders of files whose every byte is hashed: damage is noticed and named before anything is used.

`SHA256SUMS` lists the other files as `sha256sum` writes and checks them; its last line, a comment to that program, is
the hash of the lines above. A hash finds damage, not forgery: whoever changes a file can write the list anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.plain_data import open_regular, read_bytes, sha256, write_folder

HASHES_FILE = "SHA256SUMS"
_MOST_LIST_BYTES = 2**16
_PIECE_BYTES = 2**20


def write_hashed_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files and their hashes, whole or not at all; an older one of this name is replaced."""
    digests = {name: sha256(content) for name, content in files.items()}
    write_folder(folder, {**files, HASHES_FILE: _hash_list(digests)})


def read_hashed_folder(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The content of the named files; the folder's list of hashes must name the same files.

    Raises:
        SpecError: a file is missing or damaged, or the folder has no list of hashes.
    """
    files = {name: read_bytes(folder / name) for name in names}
    _check(folder, {name: sha256(content) for name, content in files.items()})
    return files


def check_hashed_folder(folder: Path, most_bytes: Mapping[str, int]) -> dict[str, str]:
    """The hashes of the named files; each is checked for its size and read piece by piece.

    Raises:
        SpecError: as `read_hashed_folder`; nothing of a file that is too large is read.
    """
    for name, most in most_bytes.items():
        with open_regular(folder / name, most):
            pass
    digests = {name: _sha256(folder / name) for name in most_bytes}
    _check(folder, digests)
    return digests


def _check(folder: Path, digests: Mapping[str, str]) -> None:
    if not (folder / HASHES_FILE).exists():
        cause = "it is incomplete, or of an earlier tokenfleet that kept no hashes"
        raise SpecError([f"{folder}: has no {HASHES_FILE}; {cause}; bring the whole folder, or train again"])
    listed = read_bytes(folder / HASHES_FILE, _MOST_LIST_BYTES)
    if listed != _hash_list(digests):
        raise SpecError([_damage(folder, digests, listed)])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _hash_list(digests: Mapping[str, str]) -> bytes:
    return _closed("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode())


def _closed(lines: bytes) -> bytes:
    return lines + f"# {sha256(lines)}\n".encode()


def _damage(folder: Path, digests: Mapping[str, str], listed: bytes) -> str:
    """Which file is damaged: the list itself if it is not closed by its own hash."""
    lines = b"".join(listed.splitlines(keepends=True)[:-1])
    if listed != _closed(lines):
        return f"{folder / HASHES_FILE}: does not match its own hash; the file is damaged"
    known = set(lines.splitlines())
    for name, digest in digests.items():
        if f"{digest}  {name}".encode() not in known:
            return f"{folder / name}: does not match its hash in {HASHES_FILE}; the file is damaged"
    return f"{folder / HASHES_FILE}: lists other files than {', '.join(sorted(digests))}"
