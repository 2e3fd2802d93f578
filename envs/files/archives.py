"""Arrays of numbers in an `.npz`: the list of members, their sizes and headers are looked at before any is read.

A crafted archive can claim arrays beyond any memory, inflate without end, list millions of members, or carry a pickle,
which is code. An archive that NumPy's `savez` and `savez_compressed` write does none of it.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tokenfleet.envs.files.limits import ARCHIVE_BYTES, ARCHIVE_DIRECTORY_BYTES, ARCHIVE_MEMBERS, MIB
from tokenfleet.envs.files.opening import PathLike, readable, version_of
from tokenfleet.envs.spec import SpecError

_END = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = 2**16 - 1
_LOCATOR_OF_LARGE_ARCHIVES = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NUMBERS = "biuf"
_SUFFIX = ".npy"
_SAVE = "write it with numpy.savez_compressed and arrays of plain numbers"


def read_arrays(path: PathLike, limit_bytes: int = ARCHIVE_BYTES) -> dict[str, NDArray[Any]]:
    """Every array of an archive by its name.

    Args:
        path: the file.
        limit_bytes: the most that all arrays may hold together.

    Raises:
        SpecError: the file cannot be read, is no archive of plain numbers, or holds more than the limits allow.
    """
    path = Path(path)
    version_of(path)
    with readable(path):
        try:
            _check_directory(path)
            with zipfile.ZipFile(path) as archive:
                _check_members(path, archive, limit_bytes)
                return {info.filename.removesuffix(_SUFFIX): _array(archive, info) for info in archive.infolist()}
        except SpecError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, LookupError, struct.error) as error:
            raise SpecError([f"{path}: not an archive of numbers ({error}); {_SAVE}"]) from None


def _check_directory(path: Path) -> None:
    """Refuse a list of members that would not fit into memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT - _LOCATOR_BYTES))
        tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise SpecError([f"{path}: not an archive of numbers (it has no end); {_SAVE}"])
    (directory_bytes,) = struct.unpack_from("<I", tail, place + 12)
    large = tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_LOCATOR_OF_LARGE_ARCHIVES)
    if large or directory_bytes > ARCHIVE_DIRECTORY_BYTES:
        raise SpecError([f"{path}: holds more than {ARCHIVE_MEMBERS} arrays; {_SAVE}"])


def _check_members(path: Path, archive: zipfile.ZipFile, limit_bytes: int) -> None:
    members = archive.infolist()
    if len(members) > ARCHIVE_MEMBERS:
        raise SpecError([f"{path}: holds more than {ARCHIVE_MEMBERS} arrays (got {len(members)}); {_SAVE}"])
    if sum(info.file_size for info in members) > limit_bytes:
        raise SpecError([f"{path}: holds more than {limit_bytes // MIB} MiB; give a shorter recording"])
    for info in members:
        if not info.filename.endswith(_SUFFIX) or info.compress_type not in _METHODS:
            raise SpecError([f"{path}: {info.filename!r} is no array of numbers; {_SAVE}"])


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """One member; the size in its header must be the one in the archive's list."""
    with archive.open(info) as member:
        shape, fortran_order, dtype = _header(member)
        if dtype.kind not in _NUMBERS:
            raise ValueError(f"{info.filename} holds {'a pickle' if dtype.hasobject else dtype}, not numbers")
        promised = math.prod(shape) * dtype.itemsize
        if member.tell() + promised != info.file_size:
            raise ValueError(f"{info.filename} claims {promised} bytes and does not hold them")
        values = np.empty(math.prod(shape), dtype)
        _fill(values, member)
    return values.reshape(shape, order="F" if fortran_order else "C")


def _fill(values: NDArray[Any], member: IO[bytes]) -> None:
    """Read numbers where they shall stand: a second copy of a large array would double what it costs."""
    buffer = values.view(np.uint8)
    for start in range(0, len(buffer), MIB):
        data = member.read(min(MIB, len(buffer) - start))
        buffer[start : start + len(data)] = np.frombuffer(data, np.uint8)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(member)
    if version == (1, 0):
        return npy.read_array_header_1_0(member)
    if version == (2, 0):
        return npy.read_array_header_2_0(member)
    raise ValueError(f"version {version} of NumPy's format")
