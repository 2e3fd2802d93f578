"""A file of weights from anybody: its header is compared with what is expected before a weight is read.

The safetensors format begins with a header that says the type, shape and place of every tensor. A file that is sound
takes as much memory as its header says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.plain_data import open_regular

_MOST_HEADER_BYTES = 2 * 2**20
_LENGTH_BYTES = 8
_PIECE = 2**20
_TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}

Layout = dict[str, tuple[torch.dtype, tuple[int, ...]]]
"""Type and shape of each tensor by its name."""


def layout_of(tensors: Mapping[str, torch.Tensor]) -> Layout:
    """Type and shape of tensors."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def num_bytes(layout: Layout) -> int:
    """How much memory the tensors take."""
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in layout.values())


def layout_difference(expected: Layout, found: Layout) -> str:
    """The first difference in words; empty where there is none."""
    for name, (dtype, shape) in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != (dtype, shape):
            return f"{name} is {_words(*found[name])} and should be {_words(dtype, shape)}"
    return next((f"{name} belongs to nothing" for name in found if name not in expected), "")


def read_layout(path: Path) -> Layout:
    """The header of a file; no tensor is read.

    Raises:
        SpecError: the file is missing, has a header that is too large, or is no safetensors file.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > _MOST_HEADER_BYTES:
        raise SpecError([f"{path}: is not a safetensors file (a header of {length:,} bytes)"])
    try:
        with safe_open(path, "pt") as tensors:
            parts = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            layout = {name: (_TYPES[part.get_dtype()], tuple(part.get_shape())) for name, part in parts.items()}
    except (SafetensorError, KeyError, ValueError, OverflowError) as error:
        raise SpecError([f"{path}: is not a safetensors file ({error})"]) from None
    return layout


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file whose layout has been found good.

    Raises:
        SpecError: a weight is not finite.
    """
    weights = {}
    with safe_open(path, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118
            weights[name] = tensors.get_tensor(name).clone()
            if not _is_finite(weights[name]):
                raise SpecError([f"{path}: {name} is not finite; its training has diverged"])
    return weights


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all values are finite, tested in pieces: the test takes several times the memory of its input."""
    return all(bool(torch.isfinite(piece).all()) for piece in torch.split(tensor.flatten(), _PIECE))


def _words(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"
