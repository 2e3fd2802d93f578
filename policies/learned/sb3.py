"""From hyper-parameters to a stable-baselines3 model: the only place that knows that library's own names.

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
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithms import (
    A2cSpec,
    AlgorithmSpec,
    OffPolicySpec,
    OnPolicySpec,
    PpoSpec,
    QuantileNetwork,
    RecurrentPpoSpec,
    SacSpec,
    Schedule,
    Td3Spec,
    TqcSpec,
)
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.spaces import space_to_plain

Arguments = dict[str, Any]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}
CONTINUOUS = (spaces.Box,)
ANY_ACTION = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True)
class Recipe:
    """How an algorithm is made.

    Attributes:
        model: `module:Class`.
        arguments: the constructor's keyword arguments, from hyper-parameters, number of environments and action space.
        network: the policy's keyword arguments.
        actions: kinds of action space that it works on.
        recurrent: whether its policies are named `MlpLstmPolicy` and remember.
    """

    model: str
    arguments: Callable[[Any, int, gymnasium.Space[Any]], Arguments]
    network: Callable[[Any], Arguments]
    actions: tuple[type[spaces.Space[Any]], ...]
    recurrent: bool = False


def make_vec_env(env: VectorEnv[Any, Any, Any], spec: AlgorithmSpec) -> VecEnv:
    """A vector environment as the algorithm sees it: adapted, and normalised where that was asked for.

    Raises:
        SpecError: the algorithm cannot work on these spaces.
    """
    check_spaces(spec, env.single_observation_space, env.single_action_space)
    adapted = Sb3VecEnv(env)
    normalise = spec.normalise
    if not (normalise.observation or normalise.reward):
        return adapted
    return VecNormalize(
        adapted,
        norm_obs=normalise.observation,
        norm_reward=normalise.reward,
        clip_obs=normalise.clip,
        clip_reward=normalise.clip,
        gamma=spec.gamma,
    )


def check_spaces(spec: AlgorithmSpec, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
    """Refuse what the algorithm cannot work on.

    Raises:
        SpecError: with the algorithms that could.
    """
    problems = []
    try:
        space_to_plain(observation)
    except SpecError as error:
        problems += [f"env: observation {line}" for line in error.problems]
    allowed = RECIPES[spec.name].actions
    if not isinstance(action, allowed):
        able = [name for name, recipe in RECIPES.items() if isinstance(action, recipe.actions)]
        hint = f"choose {', '.join(able)}" if able else "no algorithm here can"
        problems.append(f"algo.name: {spec.name} cannot choose actions from {action}; {hint}")
    elif isinstance(action, spaces.Box) and not action.is_bounded("both"):
        problems.append(f"env: actions must be bounded, for example by a RescaleAction wrapper (got {action})")
    inner = observation.spaces.values() if isinstance(observation, spaces.Dict) else [observation]
    if spec.normalise.observation and not all(isinstance(space, spaces.Box) for space in inner):
        problems.append("algo.normalise.observation: only Box observations can be normalised; set it to false")
    if problems:
        raise SpecError(problems)


def build_model(spec: AlgorithmSpec, env: VecEnv, seed: int, device: str) -> BaseAlgorithm:
    """A model with fresh weights.

    Raises:
        SpecError: hyper-parameters that do not fit this number of environments, or a device that is not there.
    """
    recipe = RECIPES[spec.name]
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SpecError([f"device: {device} is not there; use cpu"])
    if isinstance(spec, OnPolicySpec) and spec.rollout_steps < env.num_envs:
        raise SpecError(
            [f"algo.rollout_steps: must be at least n_envs ({env.num_envs}), a step of each (got {spec.rollout_steps})"]
        )
    return cast(
        BaseAlgorithm,
        model_class(spec.name)(
            _policy_name(recipe, env.observation_space),
            env,
            learning_rate=schedule(spec.learning_rate),
            gamma=spec.gamma,
            policy_kwargs=recipe.network(spec),
            seed=seed,
            device=device,
            verbose=0,
            **recipe.arguments(spec, env.num_envs, env.action_space),
        ),
    )


def build_policy(
    spec: AlgorithmSpec, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> BasePolicy:
    """The algorithm's policy network alone, with fresh weights, on the CPU."""
    recipe = RECIPES[spec.name]
    policy = model_class(spec.name).policy_aliases[_policy_name(recipe, observation_space)]
    return cast(
        BasePolicy, policy(observation_space, action_space, schedule(spec.learning_rate), **recipe.network(spec))
    )


def model_class(name: str) -> Any:
    """The stable-baselines3 class of an algorithm of `ALGORITHMS`."""
    module, _, attribute = RECIPES[name].model.partition(":")
    return getattr(importlib.import_module(module), attribute)


def schedule(rate: Schedule) -> Any:
    """A rate as stable-baselines3 takes it: a number, or a function of the progress that remains (1 to 0)."""
    initial, final = rate.initial, rate.final
    if final is None:
        return lambda remaining: initial
    return lambda remaining: final + (initial - final) * max(remaining, 0.0)


def use_threads(threads: int) -> None:
    """Let torch compute with so many threads."""
    torch.set_num_threads(threads)


def _policy_name(recipe: Recipe, observation: gymnasium.Space[Any]) -> str:
    flat = "Cnn" if is_image_space(observation) else "Mlp"
    kind = "MultiInput" if isinstance(observation, spaces.Dict) else flat
    return f"{kind}LstmPolicy" if recipe.recurrent else f"{kind}Policy"


def _on_policy(spec: OnPolicySpec, num_envs: int, action: gymnasium.Space[Any]) -> Arguments:
    return {
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
    "ppo": Recipe("stable_baselines3:PPO", _ppo, _actor_critic, ANY_ACTION),
    "a2c": Recipe("stable_baselines3:A2C", _a2c, _actor_critic, ANY_ACTION),
    "recurrent_ppo": Recipe("sb3_contrib:RecurrentPPO", _ppo, _recurrent, ANY_ACTION, recurrent=True),
    "sac": Recipe("stable_baselines3:SAC", _sac, _twin_critic, CONTINUOUS),
    "td3": Recipe("stable_baselines3:TD3", _td3, _twin_critic, CONTINUOUS),
    "tqc": Recipe("sb3_contrib:TQC", _tqc, _twin_critic, CONTINUOUS),
}
"""One for each entry of `ALGORITHMS`."""
