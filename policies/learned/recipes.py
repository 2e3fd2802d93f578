"""How each algorithm is made: from hyper-parameters to stable-baselines3's own classes and arguments.

Each algorithm of `ALGORITHMS` has one `Recipe` here. State-dependent exploration is left out on purpose: it draws noise
at a moment from which a run cannot be resumed to the bit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BasePolicy

from tokenfleet.policies.learned import custom
from tokenfleet.policies.learned.algorithms import (
    A2cSpec,
    AlgorithmSpec,
    OffPolicySpec,
    OnPolicySpec,
    PpoSpec,
    RecurrentPpoSpec,
    SacSpec,
    ShippedSpec,
    Td3Spec,
    TqcSpec,
)
from tokenfleet.policies.learned.named_values import ACTIVATIONS, schedule
from tokenfleet.policies.learned.networks import QuantileNetwork

Arguments = dict[str, Any]

CONTINUOUS = (spaces.Box,)
ANY_ACTION = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def _by_observation(spec: AlgorithmSpec) -> None:
    """Every shipped algorithm chooses its policy by the observation."""


def _gamma(spec: ShippedSpec) -> float:
    return spec.gamma


@dataclass(frozen=True)
class Recipe:
    """How an algorithm is made; every function takes its hyper-parameters.

    Attributes:
        model: its class.
        arguments: the constructor's keyword arguments, from hyper-parameters, number of environments and action space.
        network: the policy's keyword arguments.
        actions: kinds of action space that it works on.
        policy: the policy's class or stable-baselines3's name for it; None to choose by the observation.
        gamma: discount of the next step's value.
        foreign: whether its code is not the shipped one, so that nothing is known about it.
    """

    model: Callable[[Any], type[BaseAlgorithm]]
    arguments: Callable[[Any, int, gymnasium.Space[Any]], Arguments]
    network: Callable[[Any], Arguments]
    actions: tuple[type[spaces.Space[Any]], ...]
    policy: Callable[[Any], str | type[BasePolicy] | None] = _by_observation
    gamma: Callable[[Any], float] = _gamma
    foreign: bool = False


def _class(path: str) -> Callable[[AlgorithmSpec], type[BaseAlgorithm]]:
    """The class that `module:Class` names, imported when it is first asked for."""
    module, _, name = path.partition(":")
    return lambda spec: cast("type[BaseAlgorithm]", getattr(importlib.import_module(module), name))


def _rates(spec: ShippedSpec) -> Arguments:
    return {"learning_rate": schedule(spec.learning_rate), "gamma": spec.gamma}


def _on_policy(spec: OnPolicySpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    return {
        **_rates(spec),
        "n_steps": spec.rollout_steps // num_envs,
        "gae_lambda": spec.gae_lambda,
        "ent_coef": spec.entropy_coefficient,
        "vf_coef": spec.value_coefficient,
        "max_grad_norm": spec.max_gradient_norm,
        "normalize_advantage": spec.normalise_advantage,
    }


def _ppo(spec: PpoSpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    arguments = _on_policy(spec, num_envs, action)
    collected = arguments["n_steps"] * num_envs
    return {
        **arguments,
        # A rollout that the number of environments does not divide is a little shorter than was asked for.
        "batch_size": min(spec.batch_size, collected),
        "n_epochs": spec.epochs,
        "clip_range": schedule(spec.clip_range),
        "target_kl": spec.target_kl,
    }


def _a2c(spec: A2cSpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    return {**_on_policy(spec, num_envs, action), "use_rms_prop": spec.rms_prop}


def _off_policy(spec: OffPolicySpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    return {
        **_rates(spec),
        "buffer_size": spec.buffer_size,
        "learning_starts": spec.learning_starts,
        "batch_size": spec.batch_size,
        "tau": spec.tau,
        "train_freq": spec.train_every,
        "gradient_steps": spec.gradient_steps,
    }


def _sac(spec: SacSpec | TqcSpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    return {
        **_off_policy(spec, num_envs, action),
        "ent_coef": spec.entropy_coefficient,
        "target_entropy": spec.target_entropy,
    }


def _tqc(spec: TqcSpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    return {**_sac(spec, num_envs, action), "top_quantiles_to_drop_per_net": spec.dropped_quantiles}


def _td3(spec: Td3Spec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    size = int(np.prod(cast("tuple[int, ...]", action.shape)))
    noise = NormalActionNoise(np.zeros(size), np.full(size, spec.exploration_noise))
    return {
        **_off_policy(spec, num_envs, action),
        "action_noise": noise if spec.exploration_noise else None,
        "policy_delay": spec.policy_delay,
        "target_policy_noise": spec.target_noise,
        "target_noise_clip": spec.target_noise_clip,
    }


def _actor_critic(spec: OnPolicySpec) -> Arguments:
    network = spec.network
    return {
        "net_arch": {"pi": list(network.actor_layers), "vf": list(network.critic_layers)},
        "activation_fn": ACTIVATIONS[network.activation],
        "log_std_init": network.log_std_init,
        "ortho_init": network.orthogonal_init,
    }


def _recurrent(spec: RecurrentPpoSpec) -> Arguments:
    network = spec.network
    return {
        **_actor_critic(spec),
        "lstm_hidden_size": network.lstm_units,
        "n_lstm_layers": network.lstm_layers,
        "enable_critic_lstm": network.critic_lstm,
    }


def _twin_critic(spec: OffPolicySpec) -> Arguments:
    network = spec.network
    arguments: Arguments = {
        "net_arch": {"pi": list(network.actor_layers), "qf": list(network.critic_layers)},
        "activation_fn": ACTIVATIONS[network.activation],
        "n_critics": network.critics,
    }
    if isinstance(network, QuantileNetwork):
        arguments["n_quantiles"] = network.quantiles
    return arguments


RECIPES: dict[str, Recipe] = {
    "ppo": Recipe(_class("stable_baselines3:PPO"), _ppo, _actor_critic, ANY_ACTION),
    "a2c": Recipe(_class("stable_baselines3:A2C"), _a2c, _actor_critic, ANY_ACTION),
    "recurrent_ppo": Recipe(_class("sb3_contrib:RecurrentPPO"), _ppo, _recurrent, ANY_ACTION),
    "sac": Recipe(_class("stable_baselines3:SAC"), _sac, _twin_critic, CONTINUOUS),
    "td3": Recipe(_class("stable_baselines3:TD3"), _td3, _twin_critic, CONTINUOUS),
    "tqc": Recipe(_class("sb3_contrib:TQC"), _tqc, _twin_critic, CONTINUOUS),
    "custom": Recipe(
        custom.model_class,
        custom.arguments,
        custom.network,
        ANY_ACTION,
        policy=custom.policy,
        gamma=custom.gamma,
        foreign=True,
    ),
}
"""One for each entry of `ALGORITHMS`."""
