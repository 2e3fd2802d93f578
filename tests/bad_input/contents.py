"""Contents that nobody makes by accident: texts, archives that inflate or lie, columns that do not fit."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def text(content: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(content)


def raw(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def inflating(head: bytes, block: bytes, gib: float) -> Callable[[Path], Any]:
    """A gzip of `head` and then `block` again and again; each block is a member of its own, which inflates to 1 MiB."""
    member = gzip.compress(block * (2**20 // len(block)), 9)
    return lambda path: path.write_bytes(gzip.compress(head) + member * int(gib * 1024))


def doubling(item: str) -> str:
    """28 lines, each of which holds the one before twice."""
    lines = ["a0: &a0 {x: 1}" if "<<" in item else "a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} {item.format(n - 1)}" for n in range(1, 28)]
    return "\n".join(lines)


def npz(**arrays: bytes) -> Callable[[Path], Any]:
    """An archive of members that are given byte by byte."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in arrays.items():
                archive.writestr(f"{name}.npy", content)

    return make


def npy(shape: str, descr: str = "<f8", body: bytes = b"") -> bytes:
    """A member whose header says what we like."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def saved(**arrays: Any) -> Callable[[Path], Any]:
    return lambda path: np.savez_compressed(path, **arrays)


def lying(size: int) -> Callable[[Path], Any]:
    """A sound archive whose list of members says another size than its first member has."""

    def make(path: Path) -> None:
        saved(arrival_s=np.zeros(9), prompt_tokens=np.ones(9, np.int32), output_tokens=np.ones(9, np.int32))(path)
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size)
        path.write_bytes(content)

    return make


def zeros(mib: int) -> Callable[[Path], Any]:
    """One array that is a thousandth of its size on disk."""

    def make(path: Path) -> None:
        archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        with archive, archive.open("arrival_s.npy", "w") as member:
            member.write(npy(f"({mib * 2**17},)"))
            for _ in range(mib):
                member.write(bytes(2**20))

    return make


def crowded(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.npy", b"")


def lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("arrival_s.npy", bytes(2**20))


def session_columns(**changes: Any) -> dict[str, Any]:
    """Two sessions of two calls each, the second of which waits for the first, as they are stored."""
    columns = {
        "split": np.zeros(2, np.int8),
        "start_s": np.zeros(2),
        "first_call": np.array([0, 2, 2], np.int32),
        "caller": np.array([0, 2], np.int32),
        "waiter": np.array([1, 2], np.int32),
        "prompt_tokens": np.array([9, 0, 0, 0], np.int32),
        "reusable_tokens": np.zeros(4, np.int32),
        "group_tokens": np.zeros(0, np.int32),
        **{name: np.ones(4, np.int32) for name in ("output_tokens", "begins_turn")},
        "conversation": np.zeros(4, np.int32),
        "group": np.full(4, -1, np.int32),
        **{name: np.ones(4, np.float32) for name in ("wait_s", "service_s")},
    }
    return {**columns, **changes}


def client_columns(**changes: Any) -> dict[str, Any]:
    columns = {
        "window_s": np.array([600.0]),
        "rate_rps": np.ones((2, 3), np.float32),
        "shape": np.ones((2, 3), np.float32),
        "weibull": np.zeros((2, 3), np.bool_),
        "prompt_tokens": np.array([[1, 2]] * 2, np.float32),
        "output_tokens": np.array([[1, 2]] * 2, np.float32),
        "probabilities": np.array([0.1, 0.9]),
    }
    return {**columns, **changes}
