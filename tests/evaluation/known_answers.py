"""Small environments and policies with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tokenfleet.envs.vector import FleetVectorEnv

TINY = partial(FleetVectorEnv, "tiny", overrides={"horizon_ticks": 20}, split="test")


class Countdown(gymnasium.Env[np.ndarray, int]):
    """Lasts as many steps as its seed's last digit says, plus one; each step pays the action; reports what it paid."""

    observation_space = gymnasium.spaces.Box(0.0, 10.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(5)

    def __init__(self) -> None:
        self.left = 0
        self.paid = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = (seed or 0) % 10 + 1
        self.paid = 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        self.paid += int(action)
        over = self.left <= 0
        info = {"episode_metrics": {"paid": float(self.paid), "return": -1.0}} if over else {}
        return self._observation(), float(action), over, False, info

    def _observation(self) -> np.ndarray:
        return np.array([max(self.left, 0)], np.float32)


def countdowns(count: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP) -> SyncVectorEnv:
    return SyncVectorEnv([Countdown] * count, autoreset_mode=mode)


class Constant:
    """Always the same action."""

    def __init__(self, action: Any) -> None:
        self.action = np.asarray(action)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        return np.broadcast_to(self.action, (len(observation), *self.action.shape)), None


class StepCounter(Constant):
    """Acts with the number of steps since the episode began, which it has to remember; checks what it is told."""

    def __init__(self) -> None:
        super().__init__(0)
        self.batch_sizes: set[int] = set()

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        self.batch_sizes.add(len(observation))
        assert len(episode_start) == len(observation)
        taken = np.zeros(len(observation), np.int64) if state is None else np.where(episode_start, 0, state[0])
        return np.minimum(taken, 4), (taken + 1,)


class Dice:
    """Draws every action; tied to the episodes it meets."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.generators: list[np.random.Generator] = []

    def begin_episodes(self, seeds: Sequence[int]) -> None:
        self.generators = [np.random.default_rng(seed) for seed in seeds]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        drawn = [generator.uniform(-1, 1, self.shape) for generator in self.generators]
        return np.array(drawn, np.float32), None
