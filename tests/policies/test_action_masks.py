"""A network that was trained with masks takes no action that its environment forbids."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO

from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.policies.learned.network_policy import NetworkPolicy

ACTIONS, LENGTH = 6, 20


class OneAllowed(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One action is allowed at a time, by the episode's draw; the observation does not say which. Others cost 1."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(ACTIONS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._next()

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        cost = 0.0 if action == self.allowed else 1.0
        observation, info = self._next()
        return observation, -cost, False, self.steps == LENGTH, info

    def action_masks(self) -> NDArray[np.bool_]:
        return np.arange(ACTIONS) == self.allowed

    def _next(self) -> tuple[Any, dict[str, Any]]:
        self.allowed = int(self.np_random.integers(ACTIONS))
        return np.zeros(1, np.float32), {}


def batch(count: int) -> SyncVectorEnv:
    return SyncVectorEnv([OneAllowed for _ in range(count)])


def policy() -> NetworkPolicy:
    return NetworkPolicy(MaskablePPO("MlpPolicy", OneAllowed(), n_steps=8, batch_size=8, seed=0).policy, None, {}, {})


@pytest.mark.parametrize("batch_size", [1, 5])
def test_an_evaluation_takes_no_forbidden_action(batch_size: int) -> None:
    rows = evaluate_policy(batch, Candidate(policy(), "masked", learned=True), 5, 0, batch_size=batch_size)
    assert [row.metrics["return"] for row in rows] == [0.0] * 5


def test_an_environment_without_masks_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"trained with masks, and FleetVectorEnv has no environments with action_masks"
    ):
        policy().prepare(FleetVectorEnv("tiny", 1))
