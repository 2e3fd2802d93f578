"""Gymnasium's batched infos: every key stands beside a mask `_key` of the environments that have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Info = dict[str, Any]


def with_masks(values: Mapping[str, Any], mask: NDArray[np.bool_], complete: bool = False) -> Info:
    """`values` (arrays `[N, ...]`, or dicts of them) as infos of the environments in `mask`; the others' are zero.

    Where values are objects, the others' are None.

    >>> with_masks({"cost": np.array([1.0, 2.0])}, np.array([True, False]))
    {'cost': array([1., 0.]), '_cost': array([ True, False])}

    Args:
        values: by name.
        mask: `[N]`.
        complete: whether the caller knows that every environment is in the mask.
    """
    info: Info = {}
    for name, value in values.items():
        if isinstance(value, dict):
            info[name] = with_masks(value, mask, complete)
        elif complete:
            info[name] = value
        else:
            nothing = None if value.dtype.hasobject else np.zeros((), value.dtype)
            info[name] = np.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, nothing)
        info[f"_{name}"] = mask
    return info


def info_of(info: Mapping[str, Any], index: int) -> Info:
    """What one environment would have said: the inverse of `with_masks`, numbers as plain Python ones.

    >>> info_of({"cost": np.array([1.0, 2.0]), "_cost": np.array([True, False])}, 0)
    {'cost': 1.0}
    """
    return infos_of(info, [index])[0]


def infos_of(info: Mapping[str, Any], indices: Sequence[int]) -> list[Info]:
    """What each of some environments would have said; see `info_of`.

    >>> infos_of({"cost": np.array([1.0, 2.0]), "_cost": np.array([True, False])}, [0, 1])
    [{'cost': 1.0}, {}]
    """
    singles: list[Info] = [{} for _ in indices]
    for name, value in info.items():
        told = None if name.startswith("_") else info[f"_{name}"][indices]
        if told is None or not told.any():
            continue
        entries: Iterable[Any]
        if isinstance(value, Mapping):
            entries = infos_of(value, indices)
        else:
            chosen = value[indices]
            entries = chosen if value.ndim > 1 else chosen.tolist()
        for single, entry, is_there in zip(singles, entries, told.tolist(), strict=True):
            if is_there:
                single[name] = entry
    return singles
