"""Uniform actions: the baseline that any learner must beat, in any environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from tokenfleet.policies.base import PolicyContext, State

BLOCK = 64
"""How many actions are drawn at once."""


class RandomPolicy:
    """Draws every action from the action space, independently of the observation; any Gymnasium environment, any space.

    Each row of a batch has a generator of its own, so one environment's actions do not depend on the others.

    Args:
        context: its seed decides the sequence of actions.
    """

    def __init__(self, context: PolicyContext) -> None:
        self._observation_space = context.observation_space
        self._action_space = context.action_space
        self._seed = context.seed
        self._rows: list[Iterator[Any]] = []

    def begin_episodes(self, seeds: Sequence[int]) -> None:
        """Draw for row i from `seeds[i]` (and the policy's own seed) until the next call."""
        self._rows = [self._draws(int(seed)) for seed in seeds]

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, State | None]:
        """See `tokenfleet.policies.base.Policy.predict`; `deterministic` changes nothing."""
        size = _batch_size(self._observation_space, observation)
        count = 1 if size is None else size
        while len(self._rows) < count:
            self._rows.append(self._draws(len(self._rows)))
        actions = [next(row) for row in self._rows[:count]]
        if size is None:
            return actions[0], None
        batch: Any = create_empty_array(self._action_space, size)
        return concatenate(self._action_space, actions, batch), None

    def _draws(self, seed: int) -> Iterator[Any]:
        """Actions without end, drawn in blocks: a block costs little more than one action."""
        block = batch_space(self._action_space, BLOCK)
        block.seed(int(np.random.SeedSequence([self._seed, seed]).generate_state(1)[0]))
        while True:
            yield from iterate(block, block.sample())


def _batch_size(space: Space[Any], observation: Any) -> int | None:
    """How many observations there are; None for a single one."""
    if isinstance(observation, dict):
        name = next(iter(observation))
        return _batch_size(space[name], observation[name])  # type: ignore[index]
    if isinstance(observation, tuple):
        return _batch_size(space[0], observation[0])  # type: ignore[index]
    shape = np.shape(observation)
    return None if shape == space.shape else shape[0]
