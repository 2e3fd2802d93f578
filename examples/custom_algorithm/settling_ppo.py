"""An algorithm of one's own: PPO whose entropy bonus falls whenever an update has moved the policy enough."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


class SettlingPPO(PPO):
    """PPO that explores while it stands still and settles while it learns.

    Args:
        enough_kl: divergence of an update from which on the entropy bonus falls.
        fall: what the bonus is multiplied by then.
        arguments: those of PPO.
    """

    def __init__(self, *arguments: Any, enough_kl: float = 0.01, fall: float = 0.9, **kwargs: Any) -> None:
        self.enough_kl = enough_kl
        self.fall = fall
        super().__init__(*arguments, **kwargs)

    def train(self) -> None:
        """An update of PPO, then the bonus of the next; snapshots keep it, for it is a number."""
        super().train()
        if self.logger.name_to_value["train/approx_kl"] >= self.enough_kl:
            self.ent_coef *= self.fall
        self.logger.record("train/ent_coef", self.ent_coef)


class ResidualExtractor(BaseFeaturesExtractor):
    """A flat observation through residual blocks.

    Args:
        observation_space: a Box.
        features_dim: width of every block.
        blocks: how many.
    """

    def __init__(self, observation_space: gymnasium.Space[Any], features_dim: int = 64, blocks: int = 2) -> None:
        super().__init__(observation_space, features_dim)
        seen = gymnasium.spaces.flatdim(observation_space)
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(seen, features_dim))
        self.blocks = nn.ModuleList(nn.Linear(features_dim, features_dim) for _ in range(blocks))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations `[N, D]` to features `[N, features_dim]`."""
        features = self.first(observations)
        for block in self.blocks:
            features = features + torch.tanh(block(features))
        return features
