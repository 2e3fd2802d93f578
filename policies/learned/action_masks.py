"""Masks of the actions that an environment forbids, for networks that take masks, such as sb3_contrib's MaskablePPO."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy

ARGUMENT = METHOD = "action_masks"
"""What sb3_contrib calls the masks where a network takes them, and where an environment tells them."""
ActionMasks = Callable[[int], dict[str, NDArray[np.bool_]]]
"""From how many rows a network sees to its further arguments: none, or the masks `[rows, ...]` of this moment."""


def no_masks(rows: int) -> dict[str, NDArray[np.bool_]]:
    """For a network that takes none."""
    return {}


def masks_in(env: VectorEnv[Any, Any, Any], network: BasePolicy) -> ActionMasks:
    """The masks that a network takes in an environment; rows beyond those of the environment repeat its last one.

    Raises:
        SpecError: the network takes masks, and the environment has none.
    """
    if ARGUMENT not in signature(network.predict).parameters:
        return no_masks
    batch = env.unwrapped
    if not callable(getattr(batch, "call", None)):
        name = type(batch).__name__
        raise SpecError([f"env: the policy was trained with masks, and {name} has no environments with {METHOD}()"])

    def masks(rows: int) -> dict[str, NDArray[np.bool_]]:
        told = np.array(batch.call(METHOD), np.bool_)  # type: ignore[attr-defined]
        return {ARGUMENT: told[np.minimum(np.arange(rows), len(told) - 1)]}

    return masks
