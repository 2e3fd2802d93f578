"""From hyper-parameters to a stable-baselines3 model, or to its policy network alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn
from torch.overrides import TorchFunctionMode

from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.user_code import Guard
from tokenfleet.policies.learned import custom
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.custom_spec import CustomSpec
from tokenfleet.policies.learned.network_policy import wrapper_statistics_of
from tokenfleet.policies.learned.observed_limits import with_observed_limits
from tokenfleet.policies.learned.plain_data import MOST_WEIGHT_BYTES
from tokenfleet.policies.learned.recipes import RECIPES
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.spaces import space_from_plain, space_to_plain
from tokenfleet.policies.learned.weights import layout_difference, layout_of, num_bytes

_LIBRARIES = ("stable_baselines3", "sb3_contrib")
_BESIDE_WEIGHTS_BYTES = 16 * 2**20
"""Room for the header and the moments of the largest observations in the file of weights."""


def make_vec_env(env: VectorEnv[Any, Any, Any], spec: AlgorithmSpec, trust: Iterable[str] = ()) -> VecEnv:
    """A vector environment for the algorithm: adapted, and normalised if asked for.

    Args:
        env: in autoreset mode `SAME_STEP`.
        spec: the hyper-parameters.
        trust: modules whose code a checkpoint of a base or teacher may name.

    Raises:
        SpecError: the algorithm cannot work on these spaces or on so many environments, or names what does not exist.
    """
    check_spaces(spec, env.single_observation_space, env.single_action_space)
    problem = spec.environments_problem(env.num_envs)
    if problem is not None:
        raise SpecError([problem])
    around = with_observed_limits(RECIPES[spec.name].around(spec, env, trust))
    adapted = Sb3VecEnv(around, spec.group_size(env.num_envs))
    normalize = spec.normalize
    if not (normalize.norm_obs or normalize.norm_reward):
        return adapted
    return VecNormalize(adapted, **normalize.model_dump(), gamma=RECIPES[spec.name].gamma(spec))


def check_spaces(spec: AlgorithmSpec, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
    """Refuse spaces that the algorithm cannot work on.

    Raises:
        SpecError: one line per problem, with the algorithms that can choose such actions.
    """
    problems = []
    try:
        space_from_plain(space_to_plain(observation))  # as a checkpoint will
    except SpecError as error:
        problems += [f"env: observation {line}" for line in error.problems]
    allowed = RECIPES[spec.name].actions
    if not isinstance(action, allowed):
        able = [name for name, r in RECIPES.items() if isinstance(action, r.actions) and not r.foreign]
        hint = f"choose {', '.join(able)}" if able else "no algorithm here can"
        problems.append(f"algo.name: {spec.name} cannot choose actions from {action}; {hint}")
    elif isinstance(action, spaces.Box) and not action.is_bounded("both"):
        problems.append(f"env: actions must be bounded, for example by a RescaleAction wrapper (got {action})")
    inner = observation.spaces.values() if isinstance(observation, spaces.Dict) else [observation]
    if spec.normalize.norm_obs and not all(isinstance(space, spaces.Box) for space in inner):
        problems.append("algo.normalize.norm_obs: only Box observations can be normalised; set it to false")
    if problems:
        raise SpecError(problems)


def build_model(spec: AlgorithmSpec, env: VecEnv, seed: int, device: str) -> BaseAlgorithm:
    """A model with fresh weights.

    Raises:
        SpecError: arguments unfit for the algorithm or this number of environments, a missing device, or a policy that
            no checkpoint could restore.
    """
    _check_device(device)
    recipe = RECIPES[spec.name]
    arguments = recipe.arguments(spec, env.action_space)
    policy, network = _policy(spec, env.observation_space)
    fixed = {"policy_kwargs": network, "seed": seed, "device": device, "verbose": 0}
    make: Any = recipe.model(spec)
    model: BaseAlgorithm = _made(spec, lambda: make(policy, env, **fixed, **arguments))
    _check_can_be_kept(spec, model)
    return model


def begin_at_the_base(network: BasePolicy) -> None:
    """Make 0 the likeliest action of a fresh network, whatever it sees.

    Raises:
        SpecError: the network has no last layer of a known name.
    """
    heads = _heads(network)
    if not heads:
        raise SpecError(["policy.base: the algorithm's network has neither an action_net nor an actor that ends in mu"])
    for head in heads:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)


def _heads(network: BasePolicy) -> Sequence[nn.Linear]:
    """The last layers of actors: stable-baselines3's, and others of the same form."""
    actors = [getattr(network, name, None) for name in ("actor", "actor_target")]
    found = [getattr(network, "action_net", None), *(getattr(actor, "mu", None) for actor in actors)]
    layers = getattr(network, "layers", None)
    if isinstance(layers, nn.ModuleList):
        found.append(layers[-1])
    lines = [[part for part in head.modules() if isinstance(part, nn.Linear)] for head in found if head is not None]
    return [line[-1] for line in lines if line]


def build_policy(
    spec: AlgorithmSpec, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> BasePolicy:
    """The algorithm's policy network alone, on the CPU, with weights that mean nothing.

    The network of a shipped algorithm has only the shapes of its weights (on torch's `meta` device), so that a
    description of a huge one costs nothing. A network with foreign code may need weights, and has some.

    Raises:
        SpecError: the description fits no network.
    """
    policy, network = _policy(spec, observation_space)

    def make() -> BasePolicy:
        return policy(observation_space, action_space, lambda _: 0.0, **network)

    if RECIPES[spec.name].foreign:
        return cast(BasePolicy, _made(spec, make))
    with _without_weights():
        return make()


def _check_device(device: str) -> None:
    """Make sure that a device of torch is there.

    Raises:
        SpecError: it is not there; the message lists the devices that are.
    """
    kind, _, index = device.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(index or 0) >= count:
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise SpecError([f"device: {device} is not there (choose from {there})"])


def own_code(spec: AlgorithmSpec) -> AbstractContextManager[Any]:
    """A context in which errors name a user's own algorithm and its line; it does nothing for a shipped one."""
    if isinstance(spec, CustomSpec) and not spec.model.startswith(_LIBRARIES):
        return Guard(f"algo.model={spec.model}")
    return contextlib.nullcontext()


def use_threads(threads: int) -> None:
    """Let torch compute with so many threads."""
    torch.set_num_threads(threads)


def _policy(spec: AlgorithmSpec, observation: gymnasium.Space[Any]) -> tuple[Callable[..., BasePolicy], dict[str, Any]]:
    """The policy's class and its keyword arguments."""
    recipe = RECIPES[spec.name]
    chosen = recipe.policy(spec)
    if not isinstance(chosen, type):
        aliases: Mapping[str, type[BasePolicy]] = recipe.model(spec).policy_aliases
        chosen = aliases[chosen] if chosen else _fitting(aliases, observation)
    network = recipe.network(spec)
    return chosen, custom.check_network(network, chosen) if recipe.foreign else network


def _fitting(aliases: Mapping[str, type[BasePolicy]], observation: gymnasium.Space[Any]) -> type[BasePolicy]:
    """The policy that reads this kind of observation: `MlpPolicy`, `MlpLstmPolicy`, ..."""
    flat = "Cnn" if is_image_space(observation) else "Mlp"
    kind = "MultiInput" if isinstance(observation, spaces.Dict) else flat
    fitting = [policy for name, policy in aliases.items() if name.startswith(kind)]
    if not fitting:
        raise SpecError([f"algo.policy: the algorithm names no {kind} policy; give one as module:Class"])
    return fitting[0]


def _made(spec: AlgorithmSpec, make: Callable[[], Any]) -> Any:
    """What a constructor makes; arguments that it refuses are the user's mistake."""
    try:
        with own_code(spec):
            return make()
    except SpecError:
        raise
    except (AssertionError, ValueError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError([f"algo: {spec.label} cannot be made from these arguments ({reason})"]) from error


def _check_can_be_kept(spec: AlgorithmSpec, model: BaseAlgorithm) -> None:
    """Refuse, before training, a policy that a checkpoint could not hold or not give back."""
    layout = layout_of(model.policy.state_dict())
    if not layout:
        raise SpecError([f"algo.model: {spec.label} keeps no weights that torch knows, so no checkpoint can hold them"])
    num_kept = num_bytes(layout) + sum(value.nbytes for value in wrapper_statistics_of(model).values())
    if num_kept + _BESIDE_WEIGHTS_BYTES > MOST_WEIGHT_BYTES:
        size, most = num_kept / 2**20, (MOST_WEIGHT_BYTES - _BESIDE_WEIGHTS_BYTES) // 2**20
        what = "of weights, with what wrappers have learnt"
        raise SpecError([f"algo: the policy has {size:.0f} MiB {what}; a checkpoint may have {most}"])
    with torch.random.fork_rng(devices=[]):
        rebuilt = layout_of(build_policy(spec, model.observation_space, model.action_space).state_dict())
    difference = layout_difference(rebuilt, layout)
    if difference:
        raise SpecError(
            [
                f"algo.policy_kwargs: {spec.label} builds another policy than its policy class does from policy_kwargs "
                f"({difference}), so no checkpoint could be opened; set there what the constructor sets by itself"
                f" (policy_kwargs became {model.policy_kwargs})"
            ]
        )


@contextlib.contextmanager
def _without_weights() -> Iterator[None]:
    with torch.device("meta"), _Stay():
        yield


class _Stay(TorchFunctionMode):
    """Leaves tensors without data where they are; moving one to a device is an error otherwise."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
