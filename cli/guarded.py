"""Environments and wrappers of the user's own at work: one that fails is named, with the user's file and line."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv, VectorWrapper

from tokenfleet.envs.user_code import Guard


class GuardedBatch(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment whose messages name the part at fault in `reset` or `step`.

    Args:
        env: the environment, of the user's own or with a wrapper of the user's own outermost.
        part: what messages call the part.
    """

    is_adapter = True

    def __init__(self, env: VectorEnv[Any, Any, Any], part: str) -> None:
        super().__init__(env)
        self._guard = Guard(part)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """See `VectorEnv.reset`."""
        with self._guard:
            return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        """See `VectorEnv.step`."""
        with self._guard:
            return self.env.step(actions)


class GuardedSingle(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The same for a single environment."""

    def __init__(self, env: gymnasium.Env[Any, Any], part: str) -> None:
        super().__init__(env)
        self._guard = Guard(part)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `Env.reset`."""
        with self._guard:
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """See `Env.step`."""
        with self._guard:
            return self.env.step(action)
