"""Batches of short episodes, what is done in them, and what is the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.conftest import ENGINE
from tests.envs.scenarios import TWO_ROUTES
from tokenfleet.envs.vector import FleetVectorEnv

SHORT = {**TWO_ROUTES, "horizon_ticks": 5}


def batch(num_envs: int = 3, **arguments: Any) -> FleetVectorEnv:
    return FleetVectorEnv("tiny", num_envs, **{"engine": ENGINE, "overrides": SHORT, **arguments})


def random_actions(envs: FleetVectorEnv, ticks: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (ticks, *envs.action_space.shape)).astype(np.float32)


def assert_same(left: Any, right: Any, where: str = "") -> None:
    """Equal in structure, dtype and every bit; NaN equals NaN."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, tuple) or (isinstance(left, np.ndarray) and left.dtype == object):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, where
        np.testing.assert_array_equal(left, right, err_msg=where)
    else:
        assert left == right, where


def unmasked(info: dict[str, Any]) -> dict[str, Any]:
    """Batched infos without their masks."""
    values = {key: value for key, value in info.items() if not key.startswith("_")}
    return {key: unmasked(value) if isinstance(value, dict) else value for key, value in values.items()}


def structure(info: dict[str, Any]) -> dict[str, Any]:
    """Keys, with the shape and type under each."""
    return {
        key: structure(value) if isinstance(value, dict) else (np.shape(value), np.asarray(value).dtype, type(value))
        for key, value in info.items()
    }
