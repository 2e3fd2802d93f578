"""From a configuration's `env.id` to a batched environment: fleets as they are, anything else by Gymnasium."""

from __future__ import annotations

import importlib
import inspect
from functools import partial
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from tokenfleet.configs.schema import ConfigType, EntryConfig, EnvConfig
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.vector import FleetVectorEnv

AnyVectorEnv = VectorEnv[Any, Any, Any]
OWN_ARGUMENTS = ("scenario", "split", "engine", "threads", "num_envs", "autoreset_mode")
"""Constructor arguments of a fleet that have a key of their own or are the entry script's to set."""


def make_vector_env(config: EntryConfig, num_envs: int, split: Split, autoreset_mode: AutoresetMode) -> AnyVectorEnv:
    """The batched environment of a configuration.

    Args:
        config: of train.py or evaluate.py.
        num_envs: environments side by side.
        split: for fleets, which part of traces and random streams; other environments know no splits.
        autoreset_mode: training needs SAME_STEP, as SB3 does; evaluation NEXT_STEP, to read a fleet's request log.

    Raises:
        SpecError: no such environment, or arguments that it does not take.
    """
    target = find_environment(config.env)
    if not is_fleet(target):
        return _make_foreign(target, num_envs, config.env, autoreset_mode)
    taken = [f"env.kwargs.{key}: is set by the other keys; leave it out" for key in _own(config.env.kwargs)]
    if taken:
        raise SpecError(taken)
    settings: dict[str, Any] = {
        **config.env.kwargs,
        "scenario": config.scenario if config.scenario is not None else "default",
        "split": split,
        "engine": config.engine,
        "threads": config.threads,
        "autoreset_mode": autoreset_mode,
    }
    if isinstance(target, EnvSpec):
        create = partial(gymnasium.make_vec, target, vectorization_mode="vector_entry_point")
    else:
        create = target if issubclass(target, VectorEnv) else FleetVectorEnv
    return _create(create, _vector_class(target), {"num_envs": num_envs, **settings})


def settled(config: ConfigType) -> ConfigType:
    """The configuration without a scenario where the environment is not a fleet: Hydra always composes one.

    Raises:
        SpecError: no such environment.
    """
    return config if is_fleet(find_environment(config.env)) else config.model_copy(update={"scenario": None})


def find_environment(env: EnvConfig) -> EnvSpec | type[Any]:
    """What `env.id` names: a registered environment or a class.

    Raises:
        SpecError: nothing, with Gymnasium's suggestion.
    """
    module, colon, name = env.id.rpartition(":")
    if colon:
        try:
            imported = importlib.import_module(module)
        except (ImportError, ValueError) as error:
            raise SpecError([f"env.id: cannot import {module!r} of {env.id!r} ({error})"]) from None
        found = getattr(imported, name, None)
        if isinstance(found, type):
            return found
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        hint = "; write a Gymnasium id, 'module:namespace/Name-v0' or 'module:Class'"
        raise SpecError([f"env.id: {str(error).rstrip('.')}{hint}"]) from None


def is_fleet(target: EnvSpec | type[Any]) -> bool:
    """Whether an environment is built from a scenario."""
    return issubclass(_vector_class(target), (FleetVectorEnv, FleetEnv))


def _vector_class(target: EnvSpec | type[Any]) -> type[Any]:
    """The class behind an environment's own batched form, `object` where it has none."""
    if isinstance(target, type):
        return target
    entry = target.vector_entry_point
    found = load_env_creator(entry) if isinstance(entry, str) else entry
    return found if isinstance(found, type) else object


def _own(kwargs: dict[str, Any]) -> list[str]:
    return [key for key in kwargs if key in OWN_ARGUMENTS]


def _make_foreign(
    target: EnvSpec | type[Any], num_envs: int, env: EnvConfig, autoreset_mode: AutoresetMode
) -> AnyVectorEnv:
    if isinstance(target, EnvSpec):
        create = partial(
            gymnasium.make_vec,
            target,
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": autoreset_mode},
        )
        return _create(create, None, env.kwargs)
    if issubclass(target, VectorEnv):
        chosen = {"autoreset_mode": autoreset_mode} if "autoreset_mode" in inspect.signature(target).parameters else {}
        return _create(target, target, {"num_envs": num_envs, **chosen, **env.kwargs})
    if not issubclass(target, gymnasium.Env):
        raise SpecError([f"env.id: {env.id!r} is neither a gymnasium.Env nor a gymnasium.vector.VectorEnv"])
    single = partial(_create, target, target, env.kwargs)
    return SyncVectorEnv([single] * num_envs, autoreset_mode=autoreset_mode)


def _create(create: Any, signature_of: type[Any] | None, kwargs: dict[str, Any]) -> Any:
    """Call a constructor; arguments that it does not take are the user's mistake, any other failure is its own."""
    if signature_of is not None:
        parameters = inspect.signature(signature_of).parameters
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        known = [name for name in parameters if name not in OWN_ARGUMENTS]
        wrong = [key for key in kwargs if key not in parameters and not open_ended]
        if wrong:
            raise SpecError([f"env.kwargs.{key}: unknown argument{suggest(key, known)}" for key in wrong])
    try:
        return create(**kwargs)
    except SpecError as error:
        raise SpecError([f"env.kwargs: {line}" for line in error.problems]) from None
    except gymnasium.error.Error as error:
        raise SpecError([f"env.id: {error}"]) from None
    except TypeError as error:
        if signature_of is None and "argument" in str(error):
            raise SpecError([f"env.kwargs: {error}"]) from None
        raise
