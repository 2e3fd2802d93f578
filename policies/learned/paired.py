"""PPO with a baseline that only paired episodes can give.

Environments of a group go through the same episodes. At the same moment of the same episode they have the same inputs
ahead: requests, weather and events. So the mean advantage of the others estimates what an environment's own actions did
not bring about. The baseline does not depend on an environment's own action, so the expected gradient stays as it is
where the inputs do not respond to actions (Mao et al. 2018, arXiv:1807.02264). Where clients retry or sessions wait for
answers, the inputs respond a little, and the baseline is an approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer

from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv


class PairedPPO(PPO):
    """PPO on a `PairedBuffer`, which `rollout_buffer_class` and `rollout_buffer_kwargs` name."""

    def collect_rollouts(self, env: Any, callback: Any, rollout_buffer: RolloutBuffer, n_rollout_steps: int) -> bool:
        """See `OnPolicyAlgorithm.collect_rollouts`."""
        cast(PairedBuffer, rollout_buffer).watch(cast(Sb3VecEnv, env.unwrapped).moments)
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)


class PairedBuffer(RolloutBuffer):
    """A rollout whose advantages are those of PPO less the mean of the others' in the group.

    Args:
        arguments: see `RolloutBuffer`.
        group: number of consecutive environments that share episodes.
        more: see `RolloutBuffer`.
    """

    def __init__(self, *arguments: Any, group: int, **more: Any) -> None:
        self.group = group
        super().__init__(*arguments, **more)

    def watch(self, moments: Callable[[], NDArray[np.int64]]) -> None:
        """From now on ask `moments` for the episode and step of every environment, `[N, 2]`."""
        self._moments_now, self._now = moments, moments()

    def reset(self) -> None:
        """See `BaseBuffer.reset`."""
        super().reset()
        self._moments = np.zeros((self.buffer_size, self.n_envs, 2), np.int64)

    def add(self, *arguments: Any, **more: Any) -> None:
        """See `RolloutBuffer.add`; the environments have taken the step already."""
        self._moments[self.pos], self._now = self._now, self._moments_now()
        super().add(*arguments, **more)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: NDArray[np.bool_]) -> None:
        """See `RolloutBuffer.compute_returns_and_advantage`; the returns, from which values are learned, stay."""
        super().compute_returns_and_advantage(last_values, dones)
        self.advantages = self.advantages - others_mean(self.advantages, self._moments, self.group)


def others_mean(advantages: NDArray[np.float32], moments: NDArray[np.int64], group: int) -> NDArray[np.float32]:
    """The mean over the others of the group at the same moment; 0 without others.

    Args:
        advantages: `[T, N]`.
        moments: what must agree, `[T, N, M]`.
        group: G, number of consecutive environments in a group.

    Returns:
        `[T, N]`.
    """
    steps, count = advantages.shape
    split = advantages.reshape(steps, count // group, group)
    at = moments.reshape(steps, count // group, group, -1)
    together = (at[:, :, :, None] == at[:, :, None]).all(axis=-1) & ~np.eye(group, dtype=bool)
    total = np.einsum("tngh,tnh->tng", together, split, dtype=np.float64)
    mean = total / np.maximum(together.sum(axis=-1), 1)
    rows: NDArray[np.float32] = mean.reshape(steps, count).astype(np.float32)
    return rows
