"""Nested plain data with arrays, on disk as JSON and safetensors: nothing that is read back can run code.

Files are written whole or not at all: into a temporary folder beside the final one, flushed to disk, then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tokenfleet.envs.files.writing import sync_file, sync_folder
from tokenfleet.envs.spec import SpecError

Arrays = dict[str, NDArray[Any]]
ARRAY = "__array__"
MOST_JSON_BYTES = 64 * 2**20
MOST_WEIGHT_BYTES = 192 * 2**20
"""Most bytes of a checkpoint's file of weights."""
_DEEPEST = 64


def pack(tree: Any) -> tuple[Any, Arrays]:
    """Split a tree of mappings, lists, numbers, strings and arrays into JSON-able data and arrays by name.

    >>> pack({"weights": np.zeros(2), "steps": 3})
    ({'weights': {'__array__': '0'}, 'steps': 3}, {'0': array([0., 0.])})

    Raises:
        TypeError: something that is neither plain data nor an array.
    """
    arrays: Arrays = {}
    return _pack(tree, arrays), arrays


def unpack(skeleton: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The inverse of `pack`; tuples come back as lists.

    Raises:
        KeyError: an array is missing.
    """
    if isinstance(skeleton, dict):
        if set(skeleton) == {ARRAY}:
            return arrays[skeleton[ARRAY]]
        return {key: unpack(value, arrays) for key, value in skeleton.items()}
    if isinstance(skeleton, list):
        return [unpack(value, arrays) for value in skeleton]
    return skeleton


def encode_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as one safetensors file."""
    return save({name: np.ascontiguousarray(value).reshape(np.shape(value)) for name, value in arrays.items()})


def decode_arrays(content: bytes, where: Path) -> Arrays:
    """Arrays of a safetensors file.

    Raises:
        SpecError: the content is no such file, for example a pickle.
    """
    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise SpecError([f"{where}: is not a safetensors file ({error})"]) from None


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path, most_bytes: int | None = None) -> bytes:
    """The content of a regular file.

    Raises:
        SpecError: it is missing, no regular file, larger than `most_bytes`, or cannot be read.
    """
    with open_regular(path, most_bytes) as file:
        return file.read()


@contextlib.contextmanager
def open_regular(path: Path, most_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A regular file, for reading.

    Raises:
        SpecError: as `read_bytes`; nothing of a file that is too large is read.
    """
    if not path.is_file():
        raise SpecError([f"{path}: no such file"])
    try:
        size = path.stat().st_size
        if most_bytes is not None and size > most_bytes:
            raise SpecError([f"{path}: is too large ({size:,} bytes; at most {most_bytes:,})"])
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise SpecError([f"{path}: cannot be read ({error.strerror})"]) from None


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """The mapping that the content of a JSON file holds.

    Args:
        content: of the file.
        path: of the file, for messages.

    Raises:
        SpecError: it is too large, not JSON, or not a mapping.
    """
    if len(content) > MOST_JSON_BYTES:
        raise SpecError([f"{path}: is too large ({len(content)} bytes)"])
    try:
        found = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SpecError([f"{path}: is not JSON ({error})"]) from None
    if not isinstance(found, dict) or _depth(found) > _DEEPEST:
        raise SpecError([f"{path}: must hold a mapping, nested at most {_DEEPEST} deep"])
    return found


def json_bytes(data: Any) -> bytes:
    """Data as indented JSON; a number that is not finite is an error, as JSON has none."""
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files so that it is there complete or not at all; an older one of this name is replaced.

    A crash between removing the old folder and renaming the new one leaves the old one as `.<name>.old`, which
    `recover_folder` brings back.
    """
    temporary, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    _remove(temporary)
    temporary.mkdir(parents=True)
    for name, content in files.items():
        (temporary / name).write_bytes(content)
        sync_file(temporary / name)
    sync_folder(temporary)
    if folder.exists():
        _remove(old)
        folder.rename(old)
    temporary.rename(folder)
    sync_folder(folder.parent)
    _remove(old)


def recover_folder(folder: Path) -> None:
    """Finish or undo a `write_folder` that was interrupted."""
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():
        old.rename(folder)
    _remove(old)
    _remove(folder.with_name(f".{folder.name}.new"))


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _pack(tree: Any, arrays: Arrays) -> Any:
    if isinstance(tree, np.ndarray):
        if tree.dtype.kind not in "biuf":
            raise TypeError(f"an array of {tree.dtype} cannot be stored")
        arrays[str(len(arrays))] = tree
        return {ARRAY: str(len(arrays) - 1)}
    if isinstance(tree, Mapping):
        return {str(key): _pack(value, arrays) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_pack(value, arrays) for value in tree]
    if isinstance(tree, np.generic):
        return tree.item()
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise TypeError(f"{type(tree).__name__} cannot be stored: only plain data and arrays can")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _depth(tree: Any) -> int:
    """Nesting depth, counted without recursion."""
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return deepest
