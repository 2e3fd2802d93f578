"""Gymnasium spaces as plain data and back, so that a checkpoint can describe its spaces without pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError, shown

MOST_VALUES = 2**20
"""Most values that an observation or action may have, and most choices of a discrete one."""
_MOST_NUMBERS = 2**14
"""Longest list of bounds or choices in a description, so that it stays a few megabytes."""
_MOST_PARTS, _MOST_AXES = 256, 8
_WORDS = {"inf": np.inf, "-inf": -np.inf}
_DTYPES = ("float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def space_to_plain(space: gymnasium.Space[Any], where: str = "space") -> dict[str, Any]:
    """A space as JSON-able data.

    >>> space_to_plain(spaces.Discrete(3))
    {'kind': 'discrete', 'n': 3, 'start': 0}

    Raises:
        SpecError: a kind of space that stable-baselines3 has no policy for.
    """
    if isinstance(space, spaces.Box):
        low, high = _bound_to_plain(space.low), _bound_to_plain(space.high)
        return {"kind": "box", "shape": list(space.shape), "dtype": str(space.dtype), "low": low, "high": high}
    if isinstance(space, spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and not np.any(space.start):
        return {"kind": "multi_discrete", "nvec": [int(n) for n in space.nvec]}
    if isinstance(space, spaces.MultiBinary) and isinstance(space.n, (int, np.integer)):
        return {"kind": "multi_binary", "n": int(space.n)}
    if isinstance(space, spaces.Dict) and where == "space":
        return {
            "kind": "dict",
            "spaces": {key: space_to_plain(inner, f"{where}.{key}") for key, inner in space.items()},
        }
    raise SpecError([f"{where}: policies cannot work with {space}; give a Box, discrete, or flat Dict space"])


def space_from_plain(plain: Any, where: str = "space") -> gymnasium.Space[Any]:
    """The inverse of `space_to_plain`; data of unknown origin is checked.

    Raises:
        SpecError: the data describes no space.
    """
    if not isinstance(plain, Mapping) or plain.get("kind") not in _FROM_PLAIN:
        raise SpecError([f"{where}: describes no known space"])
    try:
        return _FROM_PLAIN[plain["kind"]](plain)
    except (KeyError, TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise SpecError([f"{where}: describes no valid space ({type(error).__name__}: {error})"]) from None


def space_difference(trained: gymnasium.Space[Any], given: gymnasium.Space[Any]) -> str:
    """How two spaces differ, in words; empty where a policy trained on one works on the other."""
    if trained == given:
        return ""
    trained_shape, given_shape = getattr(trained, "shape", None), getattr(given, "shape", None)
    if type(trained) is type(given) and trained_shape != given_shape:
        return f"shape {trained_shape} against {given_shape}"
    if isinstance(trained, spaces.Box) and isinstance(given, spaces.Box):
        return _box_difference(trained, given)
    return f"{shown(trained)} against {shown(given)}"


def _box_difference(trained: spaces.Box, given: spaces.Box) -> str:
    """How two boxes of one shape differ: in type, or in bounds, of which the first is named."""
    if trained.dtype != given.dtype:
        return f"{trained.dtype} against {given.dtype}"
    differs = (trained.low != given.low) | (trained.high != given.high)
    place = tuple(int(index) for index in np.argwhere(differs)[0])
    bounds = (f"[{box.low[place]:g}, {box.high[place]:g}]" for box in (trained, given))
    return f"other bounds in {int(differs.sum())} entries, {list(place)} first: {' against '.join(bounds)}"


def _bound_to_plain(bound: NDArray[Any]) -> Any:
    """One number where all are equal, else a flat list; infinities as words, since JSON lacks them."""
    flat = [float(value) if np.isfinite(value) else str(float(value)) for value in bound.ravel().tolist()]
    return flat[0] if flat and all(value == flat[0] for value in flat) else flat


def _bound_from_plain(plain: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    numbers = np.array([_number(value) for value in _listed(plain)] if isinstance(plain, list) else _number(plain))
    if np.isnan(numbers).any():
        raise ValueError("a bound that is no number")
    if dtype.kind != "f":
        least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if not np.all((least <= numbers) & (numbers <= most)):
            raise ValueError(f"a bound outside {dtype}")
    with np.errstate(all="raise"):
        typed = numbers.astype(dtype)
    return typed.reshape(shape) if isinstance(plain, list) else np.full(shape, typed)


def _box(plain: Mapping[str, Any]) -> spaces.Box:
    shape = tuple(_integer(size) for size in plain["shape"])
    if len(shape) > _MOST_AXES or math.prod(shape) > MOST_VALUES:
        raise ValueError("too large")
    if plain["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {plain['dtype']!r}")
    dtype = np.dtype(plain["dtype"])
    low, high = (_bound_from_plain(plain[name], shape, dtype) for name in ("low", "high"))
    if np.any(low > high):
        raise ValueError("a lower bound above the upper one")
    return spaces.Box(low, high, shape, dtype.type)


def _discrete(plain: Mapping[str, Any]) -> spaces.Discrete:
    return spaces.Discrete(_integer(plain["n"]), start=_integer(plain.get("start", 0), -(2**31)))


def _multi_discrete(plain: Mapping[str, Any]) -> spaces.MultiDiscrete:
    choices = [_integer(n) for n in _listed(plain["nvec"])]
    _integer(sum(choices))
    return spaces.MultiDiscrete(choices)


def _multi_binary(plain: Mapping[str, Any]) -> spaces.MultiBinary:
    return spaces.MultiBinary(_integer(plain["n"]))


def _dict(plain: Mapping[str, Any]) -> spaces.Dict:
    parts: Mapping[str, Any] = plain["spaces"]
    if not 1 <= len(parts) <= _MOST_PARTS:
        raise ValueError(f"{len(parts)} parts")
    if any(isinstance(part, Mapping) and part.get("kind") == "dict" for part in parts.values()):
        raise ValueError("a Dict space inside another")
    inner = {}
    left = MOST_VALUES
    for key, part in parts.items():
        inner[key] = space_from_plain(part, key)
        left -= spaces.flatdim(inner[key])
        if left < 0:
            raise ValueError("too large")
    return spaces.Dict(inner)


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_NUMBERS:
        raise ValueError("no list of a sensible length")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str):
        return _WORDS[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _integer(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_VALUES:
        raise ValueError(f"{value!r} is no sensible size")
    return value


_FROM_PLAIN = {
    "box": _box,
    "discrete": _discrete,
    "multi_discrete": _multi_discrete,
    "multi_binary": _multi_binary,
    "dict": _dict,
}
