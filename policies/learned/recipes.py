"""How each algorithm is made: from hyper-parameters to stable-baselines3's own classes and arguments.

Each algorithm of `ALGORITHMS` has one `Recipe` here. State-dependent exploration is left out on purpose: a run cannot
be resumed to the bit from the moments at which it draws noise.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BasePolicy

from tokenfleet.policies.learned import custom
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec, Schedule
from tokenfleet.policies.learned.algorithms import (
    OffPolicySpec,
    OnPolicySpec,
    PairedPpoSpec,
    ShippedSpec,
    Td3Spec,
)
from tokenfleet.policies.learned.evolution_specs import EvolutionSpec
from tokenfleet.policies.learned.imitation_spec import DaggerSpec
from tokenfleet.policies.learned.named_values import ACTIVATIONS, schedule
from tokenfleet.policies.learned.paired import PairedBuffer
from tokenfleet.policies.learned.teaching import taught
from tokenfleet.policies.search import Float64Array, Search
from tokenfleet.policies.search.covariance import CovarianceSearch
from tokenfleet.policies.search.pairs import AugmentedRandomSearch, EvolutionStrategy

Arguments = dict[str, Any]

CONTINUOUS = (spaces.Box,)
ANY_ACTION = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def _by_observation(spec: AlgorithmSpec) -> None:
    """Every shipped algorithm chooses its policy by the observation."""


def _as_they_are(spec: AlgorithmSpec, env: VectorEnv[Any, Any, Any], trust: Iterable[str]) -> VectorEnv[Any, Any, Any]:
    """Most algorithms need nothing around their environments."""
    return env


def _gamma(spec: ShippedSpec) -> float:
    return spec.gamma


@dataclass(frozen=True)
class Recipe:
    """How an algorithm is made; every function takes its hyper-parameters.

    Attributes:
        model: its class.
        arguments: the constructor's keyword arguments, from hyper-parameters and action space.
        network: the policy's keyword arguments.
        actions: kinds of action space that it works on.
        policy: the policy's class or stable-baselines3's name for it; None to choose by the observation.
        gamma: discount of the next step's value.
        around: wraps the environments, given the modules whose code a checkpoint may name.
        foreign: whether its code does not ship with tokenfleet or its libraries, so that nothing is known about it.
    """

    model: Callable[[Any], type[BaseAlgorithm]]
    arguments: Callable[[Any, gymnasium.Space[Any]], Arguments]
    network: Callable[[Any], Arguments]
    actions: tuple[type[spaces.Space[Any]], ...]
    policy: Callable[[Any], str | type[BasePolicy] | None] = _by_observation
    gamma: Callable[[Any], float] = _gamma
    around: Callable[[Any, VectorEnv[Any, Any, Any], Iterable[str]], VectorEnv[Any, Any, Any]] = _as_they_are
    foreign: bool = False


def _class(path: str) -> Callable[[AlgorithmSpec], type[BaseAlgorithm]]:
    """The class that `module:Class` names, imported when it is first asked for."""
    module, _, name = path.partition(":")
    return lambda spec: cast("type[BaseAlgorithm]", getattr(importlib.import_module(module), name))


def _arguments(spec: AlgorithmSpec, action: gymnasium.Space[Any]) -> Arguments:
    """The constructor's arguments have the names of the hyper-parameters."""
    names = type(spec).model_fields.keys() - AlgorithmSpec.model_fields.keys() - {"policy_kwargs"}
    return {name: _value(getattr(spec, name)) for name in sorted(names)}


def _value(value: Any) -> Any:
    return schedule(value) if isinstance(value, Schedule) else value


def _paired(spec: PairedPpoSpec, action: gymnasium.Space[Any]) -> Arguments:
    plain = _arguments(spec, action)
    buffer = {"group": plain.pop("group")}
    return {**plain, "rollout_buffer_class": PairedBuffer, "rollout_buffer_kwargs": buffer}


def _evolution(make: Callable[..., Search]) -> Callable[[EvolutionSpec, gymnasium.Space[Any]], Arguments]:
    """Arguments of `Evolution` for a search by `make`; the arguments of `make` have the names of hyper-parameters."""

    def arguments(spec: EvolutionSpec, action: gymnasium.Space[Any]) -> Arguments:
        names = type(spec).model_fields.keys() - EvolutionSpec.model_fields.keys() | {"sigma"}
        own = {name: getattr(spec, name) for name in sorted(names)}

        def make_search(start: Float64Array, population: int, seed: int) -> Search:
            return make(start, population=population, seed=seed, **own)

        return {"episodes": spec.episodes, "links": spec.links, "fields": spec.fields, "make_search": make_search}

    return arguments


def _dagger(spec: DaggerSpec, action: gymnasium.Space[Any]) -> Arguments:
    return {name: value for name, value in _arguments(spec, action).items() if name != "teacher"}


def _with_teacher(spec: DaggerSpec, env: VectorEnv[Any, Any, Any], trust: Iterable[str]) -> VectorEnv[Any, Any, Any]:
    return taught(env, spec.teacher, trust)


def _undiscounted(spec: AlgorithmSpec) -> float:
    return 1.0


def _td3(spec: Td3Spec, action: gymnasium.Space[Any]) -> Arguments:
    size = int(np.prod(cast("tuple[int, ...]", action.shape)))
    noise = NormalActionNoise(np.zeros(size), np.full(size, spec.action_noise))
    return {**_arguments(spec, action), "action_noise": noise if spec.action_noise else None}


def _network(spec: OnPolicySpec | OffPolicySpec | EvolutionSpec | DaggerSpec) -> Arguments:
    plain = spec.policy_kwargs.model_dump(mode="json")
    return {**plain, "activation_fn": ACTIVATIONS[plain["activation_fn"]]}


def _evolved(make: Callable[..., Search]) -> Recipe:
    """An algorithm that searches for weights."""
    model = _class("tokenfleet.policies.learned.evolution:Evolution")
    return Recipe(model, _evolution(make), _network, CONTINUOUS, gamma=_undiscounted)


RECIPES: dict[str, Recipe] = {
    "ppo": Recipe(_class("stable_baselines3:PPO"), _arguments, _network, ANY_ACTION),
    "a2c": Recipe(_class("stable_baselines3:A2C"), _arguments, _network, ANY_ACTION),
    "recurrent_ppo": Recipe(_class("sb3_contrib:RecurrentPPO"), _arguments, _network, ANY_ACTION),
    "paired_ppo": Recipe(_class("tokenfleet.policies.learned.paired:PairedPPO"), _paired, _network, ANY_ACTION),
    "sac": Recipe(_class("stable_baselines3:SAC"), _arguments, _network, CONTINUOUS),
    "td3": Recipe(_class("stable_baselines3:TD3"), _td3, _network, CONTINUOUS),
    "tqc": Recipe(_class("sb3_contrib:TQC"), _arguments, _network, CONTINUOUS),
    "cma_es": _evolved(CovarianceSearch),
    "openai_es": _evolved(EvolutionStrategy),
    "ars": _evolved(AugmentedRandomSearch),
    "dagger": Recipe(
        _class("tokenfleet.policies.learned.imitation:Dagger"),
        _dagger,
        _network,
        CONTINUOUS,
        gamma=_undiscounted,
        around=_with_teacher,
    ),
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
"""The recipe of each entry of `ALGORITHMS`."""
