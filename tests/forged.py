"""Folders changed on purpose, with fitting hashes: what damage never is."""

from __future__ import annotations

from pathlib import Path

from tokenfleet.policies.learned.hashed_folder import HASHES_FILE, write_hashed_folder


def forge_hashes(folder: Path) -> None:
    """Write the list of hashes anew for the files as they are now."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != HASHES_FILE}
    write_hashed_folder(folder, files)
