"""Small environments with known answers, and models on them that take a second to train."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.callbacks import Cadence, Validate
from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
from tokenfleet.policies.learned.training import TrainingJob

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 32, "batch_size": 32, "n_epochs": 2},
    "a2c": {"n_steps": 32},
    "recurrent_ppo": {"n_steps": 32, "batch_size": 32, "n_epochs": 2},
    "paired_ppo": {"n_steps": 32, "batch_size": 32, "n_epochs": 2, "group": 2},
    "sac": {"learning_starts": 50, "gradient_steps": 1, "batch_size": 16, "buffer_size": 120},
    "td3": {"learning_starts": 50, "gradient_steps": 1, "batch_size": 16, "buffer_size": 120},
    "tqc": {"learning_starts": 50, "gradient_steps": 1, "batch_size": 16, "buffer_size": 120},
    "cma_es": {"episodes": 1},
    "openai_es": {"episodes": 1},
    "ars": {"episodes": 1},
    "dagger": {"teacher": "tests.policies.toys:Recalls", "n_steps": 16, "batch_size": 16, "gradient_steps": 2},
}
"""Hyper-parameters of every algorithm that make a run of a few hundred steps one with many updates."""


class Target(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Say the number that you see: the reward is minus the distance; `length` steps an episode."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.step_count = 0
        return self._draw(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = -float(np.abs(action - self.target).sum())
        self.step_count += 1
        return self._draw(), reward, False, self.step_count == self.length, {}

    def _draw(self) -> NDArray[np.float32]:
        self.target = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.target


class Recalls:
    """A teacher for any box that remembers: entry `i` of its action is the mean so far of entry `i` of what it saw."""

    def __init__(self, context: PolicyContext) -> None:
        self.size = int(np.prod(context.action_space.shape or ()))

    def predict(
        self, observation: NDArray[Any], state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        seen = np.resize(observation.T, (self.size, len(observation))).T.astype(np.float64)
        total, count = state or (np.zeros_like(seen), np.zeros((len(seen), 1)))
        begins = np.reshape(episode_start, (-1, 1))
        total, count = np.where(begins, 0.0, total) + seen, np.where(begins, 0.0, count) + 1.0
        return (total / count).astype(np.float32), (total, count)


class Scripted(gymnasium.Env[NDArray[np.float32], int]):
    """Observes `[episode, step]`; every step is worth 1; ends as its script says: `(length, terminated)` in turn."""

    observation_space = spaces.Box(0.0, 100.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, script: tuple[tuple[int, bool], ...]) -> None:
        self.script = script
        self.episode = -1
        self.seeds: list[int | None] = []
        self.options: list[dict[str, Any] | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.episode += 1
        self.seeds.append(seed)
        self.options.append(options)
        self.step_count = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_count += 1
        length, terminated = self.script[self.episode % len(self.script)]
        ended = self.step_count == length
        info = {"episode_metrics": {"score": float(self.episode)}} if ended else {}
        return self._observe(), 1.0, ended and terminated, ended and not terminated, info

    def double(self, number: int) -> int:
        return 2 * number

    def _observe(self) -> NDArray[np.float32]:
        return np.array([self.episode, self.step_count], np.float32)


def same_step(make: Any, count: int) -> SyncVectorEnv:
    """`count` environments in the mode that training needs."""
    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def small_algorithm(name: str, **changes: Any) -> AlgorithmSpec:
    """An algorithm with small networks and frequent updates."""
    network: dict[str, Any] = {"net_arch": [8]}
    network |= {"lstm_hidden_size": 4} if name == "recurrent_ppo" else {}
    return parse_algorithm({"name": name, "policy_kwargs": network, **SMALL[name], **changes})


def job_on(
    env: VectorEnv[Any, Any, Any],
    algorithm: AlgorithmSpec,
    total: int = 400,
    validate: Validate | None = None,
    every: int = 100,
) -> TrainingJob:
    """A short job that validates, logs and takes snapshots every `every` steps."""
    return TrainingJob(
        algorithm=algorithm,
        env=env,
        origin=TrainingOrigin(environment="toy", training_seed=3, timesteps=0),
        total_timesteps=total,
        cadence=Cadence(validate=every if validate else None, log=every, snapshot=every),
        validate=validate,
    )


def target_score(policy: Any) -> dict[str, float]:
    """How well a policy says what it sees, on a fixed grid; 0 is perfect."""
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)), -1).reshape(-1, 2).astype(np.float32)
    actions, _ = policy.predict(grid, deterministic=True)
    return {"return": -float(np.abs(actions - grid).sum(1).mean())}
