"""Gymnasium spaces as plain data and back, so that a checkpoint can say what it sees and does without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError

MOST_VALUES = 2**24
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
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError) as error:
        raise SpecError([f"{where}: describes no valid space ({type(error).__name__}: {error})"]) from None


def space_difference(trained: gymnasium.Space[Any], given: gymnasium.Space[Any]) -> str:
    """How two spaces differ, in words; empty where a policy trained on one works on the other."""
    if trained == given:
        return ""
    trained_shape, given_shape = getattr(trained, "shape", None), getattr(given, "shape", None)
    if type(trained) is type(given) and trained_shape != given_shape:
        return f"shape {trained_shape} against {given_shape}"
    return f"{trained} against {given}"


def _bound_to_plain(bound: NDArray[Any]) -> Any:
    """One number where all are equal, else a flat list; infinities as words, which JSON lacks."""
    flat = [float(value) if np.isfinite(value) else str(float(value)) for value in bound.ravel().tolist()]
    return flat[0] if flat and all(value == flat[0] for value in flat) else flat


def _bound_from_plain(plain: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(plain, list):
        return np.array([float(value) for value in plain]).reshape(shape).astype(dtype)
    return np.full(shape, float(plain)).astype(dtype)


def _box(plain: Mapping[str, Any]) -> spaces.Box:
    shape = tuple(_integer(size, 0) for size in plain["shape"])
    if len(shape) > 8 or float(np.prod([float(size) for size in shape])) > MOST_VALUES:
        raise ValueError("too large")
    if plain["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {plain['dtype']!r}")
    dtype = np.dtype(plain["dtype"])
    low, high = (_bound_from_plain(plain[name], shape, dtype) for name in ("low", "high"))
    return spaces.Box(low, high, shape, dtype.type)


def _discrete(plain: Mapping[str, Any]) -> spaces.Discrete:
    return spaces.Discrete(_integer(plain["n"], 1), start=_integer(plain.get("start", 0), -(2**31)))


def _multi_discrete(plain: Mapping[str, Any]) -> spaces.MultiDiscrete:
    return spaces.MultiDiscrete([_integer(n, 1) for n in plain["nvec"]])


def _multi_binary(plain: Mapping[str, Any]) -> spaces.MultiBinary:
    return spaces.MultiBinary(_integer(plain["n"], 1))


def _dict(plain: Mapping[str, Any]) -> spaces.Dict:
    inner = {str(key): space_from_plain(value, str(key)) for key, value in plain["spaces"].items()}
    if any(isinstance(space, spaces.Dict) for space in inner.values()):
        raise ValueError("a Dict space inside another")
    return spaces.Dict(inner)


def _integer(value: Any, least: int) -> int:
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
