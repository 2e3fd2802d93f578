"""A network from observations straight to actions, without values or noise: for searches and for imitation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

Float64Array = NDArray[np.float64]


class ControllerPolicy(BasePolicy):
    """Hidden layers, and a last one whose weights begin at zero, so that every action begins in the middle of the box.

    Args:
        observation_space: flattened.
        action_space: a box; the network's output is cut to [-1, 1] and stretched over it.
        lr_schedule: not used; stable-baselines3 hands it to every policy.
        net_arch: units of each hidden layer; none for a linear policy.
        activation_fn: between layers.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        net_arch: Sequence[int] = (),
        activation_fn: type[nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=True)
        self.features_extractor = self.make_features_extractor()
        widths = [self.features_extractor.features_dim, *net_arch, int(np.prod(action_space.shape))]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(widths))
        self.activation = activation_fn()
        for layer in self.linears():
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.linears()[-1].weight)

    def linears(self) -> list[nn.Linear]:
        """The layers, the last one included."""
        return [cast(nn.Linear, layer) for layer in self.layers]

    def forward(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        """Actions in [-1, 1], `[N, A]`."""
        return self._predict(observation, deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        return torch.clamp(self._said(observation), -1.0, 1.0).reshape(-1, *(self.action_space.shape or ()))

    def uncut(self, observation: PyTorchObs) -> torch.Tensor:
        """Actions in the units of the box, `[N, A]`, before they are cut to it, so that every error has a gradient."""
        box = cast(spaces.Box, self.action_space)
        low, high = (
            torch.as_tensor(bound.ravel(), dtype=torch.float32, device=self.device) for bound in (box.low, box.high)
        )
        return (high + low) / 2 + (high - low) / 2 * self._said(observation)

    def _said(self, observation: PyTorchObs) -> torch.Tensor:
        """Output of the last layer, `[N, A]`."""
        values = self.extract_features(observation, self.features_extractor)
        for layer in self.linears()[:-1]:
            values = self.activation(layer(values))
        last: torch.Tensor = self.linears()[-1](values)
        return last

    def weights(self) -> Float64Array:
        """All weights in one array, `[D]`: layer by layer, the weights and then the biases."""
        parts = [part.detach().cpu().numpy().ravel() for layer in self.linears() for part in (layer.weight, layer.bias)]
        return np.concatenate(parts).astype(np.float64)

    def set_weights(self, weights: Float64Array) -> None:
        """Take weights `[D]`, as `weights` gives them."""
        flat = torch.as_tensor(weights, dtype=torch.float32, device=self.device)
        with torch.no_grad():
            for layer in self.linears():
                for part in (layer.weight, layer.bias):
                    part.copy_(flat[: part.numel()].reshape(part.shape))
                    flat = flat[part.numel() :]

    def actions_of(self, weights: Float64Array, observations: NDArray[np.generic]) -> NDArray[np.float32]:
        """What P networks of this shape do, each with its own observations.

        Args:
            weights: `[P, D]`.
            observations: `[P, E, ...]`.

        Returns:
            Actions in [-1, 1], `[P, E, A]`.
        """
        count, episodes = observations.shape[:2]
        values = torch.as_tensor(observations.reshape(count, episodes, -1), dtype=torch.float32)
        flat = torch.as_tensor(weights, dtype=torch.float32)
        for number, layer in enumerate(self.linears()):
            size = layer.weight.numel()
            weight = flat[:, :size].reshape(count, *layer.weight.shape)
            bias = flat[:, size : size + len(layer.bias)]
            flat = flat[:, size + len(layer.bias) :]
            values = torch.baddbmm(bias[:, None, :], values, weight.transpose(1, 2))
            if number < len(self.layers) - 1:
                values = self.activation(values)
        acted: NDArray[np.float32] = torch.clamp(values, -1.0, 1.0).numpy()
        return acted
