"""Uniform actions: the baseline that any learner must beat, in any environment."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from tokenfleet.policies.base import PolicyContext, State


class RandomPolicy:
    """Draws every action from the action space, independently of the observation; any Gymnasium environment, any space.

    Args:
        context: its seed decides the sequence of actions.
    """

    def __init__(self, context: PolicyContext) -> None:
        self._observation_space = context.observation_space
        self._space = copy.deepcopy(context.action_space)
        self._space.seed(context.seed)

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, State | None]:
        """See `tokenfleet.policies.base.Policy.predict`; `deterministic` changes nothing."""
        size = _batch_size(self._observation_space, observation)
        if size is None:
            return self._space.sample(), None
        actions = [self._space.sample() for _ in range(size)]
        batch: Any = create_empty_array(self._space, size)
        return concatenate(self._space, actions, batch), None


def _batch_size(space: Space[Any], observation: Any) -> int | None:
    """How many observations there are; None for a single one."""
    if isinstance(observation, dict):
        name = next(iter(observation))
        return _batch_size(space[name], observation[name])  # type: ignore[index]
    if isinstance(observation, tuple):
        return _batch_size(space[0], observation[0])  # type: ignore[index]
    shape = np.shape(observation)
    return None if shape == space.shape else shape[0]
