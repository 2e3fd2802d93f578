"""The bytes of a file, inflated or not, up to a limit."""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from tokenfleet.envs.files.limits import MIB
from tokenfleet.envs.spec import SpecError

PathLike = str | os.PathLike[str]


class Version(NamedTuple):
    """What tells two versions of a file apart: the key of what is read once."""

    modified_ns: int
    size_bytes: int


def version_of(path: Path) -> Version:
    """The version of a file that may be read.

    Raises:
        SpecError: there is no such file, or it is none: a folder, a device, a pipe that would never end.
    """
    with readable(path):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
        raise SpecError([f"{path}: cannot be read: it is {kind}; give a file"])
    return Version(status.st_mtime_ns, status.st_size)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Report whatever goes wrong with the bytes of a file as a `SpecError`."""
    try:
        yield
    except FileNotFoundError:
        raise SpecError([f"{path}: no such file"]) from None
    except UnicodeDecodeError as error:
        raise SpecError([f"{path}: not UTF-8 text: {error.reason} at byte {error.start}"]) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SpecError([f"{path}: cannot be read: {reason}"]) from None


def read_text(path: PathLike, limit_bytes: int) -> str:
    """The text of a small file, UTF-8 with or without a byte-order mark.

    Args:
        path: the file.
        limit_bytes: the most that it may hold.

    Raises:
        SpecError: it cannot be read, is not UTF-8, or is longer.
    """
    path = Path(path)
    version_of(path)
    with readable(path), open_bytes(path, limit_bytes) as file:
        return file.read().decode("utf-8-sig")


def open_bytes(path: Path, limit_bytes: int) -> BinaryIO:
    """A file for reading, inflated if its name ends in `.gz`. A read beyond `limit_bytes` is a `SpecError`."""
    opened = gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # noqa: SIM115 (the caller closes)
    return cast(BinaryIO, io.BufferedReader(_Limited(path, cast(BinaryIO, opened), limit_bytes), MIB))


class _Limited(io.RawIOBase):
    """A stream that refuses to give more than so many bytes."""

    def __init__(self, path: Path, file: BinaryIO, limit_bytes: int) -> None:
        self._path, self._file, self._limit_bytes, self._given = path, file, limit_bytes, 0

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        data = self._file.read(len(buffer))
        self._given += len(data)
        if self._given > self._limit_bytes:
            limit = f"{self._limit_bytes / MIB:g} MiB" if self._limit_bytes >= MIB else f"{self._limit_bytes} bytes"
            raise SpecError([f"{self._path}: holds more than {limit}; give a shorter file"])
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """See `io.IOBase`."""
        self._file.close()
        super().close()
