"""Uniform actions: the baseline that any learner must beat, in any environment."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from tokenfleet.policies.base import PolicyContext, State


class RandomPolicy:
    """Draws every action from the action space, independently of the observation; any Gymnasium environment, any space.

    Args:
        context: its seed decides the sequence of actions.
    """

    def __init__(self, context: PolicyContext) -> None:
        self._observation_space = context.observation_space
        self._action_space = context.action_space
        self._seed = context.seed
        self._spaces: dict[int, Space[Any]] = {}

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, State | None]:
        """See `tokenfleet.policies.base.Policy.predict`; `deterministic` changes nothing."""
        size = _batch_size(self._observation_space, observation)
        actions: Any = self._space(size or 0).sample()
        return actions, None

    def _space(self, size: int) -> Space[Any]:
        """The space of `size` actions at once, 0 for a single one without a batch axis; each has its own generator."""
        if size not in self._spaces:
            space = batch_space(self._action_space, size) if size else copy.deepcopy(self._action_space)
            space.seed(int(np.random.SeedSequence([self._seed, size]).generate_state(1)[0]))
            self._spaces[size] = space
        return self._spaces[size]


def _batch_size(space: Space[Any], observation: Any) -> int | None:
    """How many observations there are; None for a single one."""
    if isinstance(observation, dict):
        name = next(iter(observation))
        return _batch_size(space[name], observation[name])  # type: ignore[index]
    if isinstance(observation, tuple):
        return _batch_size(space[0], observation[0])  # type: ignore[index]
    shape = np.shape(observation)
    return None if shape == space.shape else shape[0]
