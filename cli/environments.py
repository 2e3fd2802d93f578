"""From a configuration's `env` to a batched environment: fleets as they are, anything else by Gymnasium."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from tokenfleet.configs.schema import ConfigType, EntryConfig, EnvConfig
from tokenfleet.configs.wrappers import (
    Wrapping,
    around_batch,
    around_single,
    check_batch_only,
    find_wrappers,
    with_wrappers,
)
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.scenario.standing import refuse_rooflines
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import failure
from tokenfleet.envs.vector import FleetVectorEnv

AnyVectorEnv = VectorEnv[Any, Any, Any]
OWN_ARGUMENTS = ("scenario", "split", "engine", "strict_profiles", "threads", "num_envs", "autoreset_mode")
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
    wrappings = find_wrappers(config.env.wrappers)
    env = around_batch(_bare_vector_env(config, num_envs, split, autoreset_mode, wrappings), wrappings)
    if env.spec is not None and not isinstance(env.unwrapped, FleetVectorEnv):
        env.unwrapped.spec = with_wrappers(env.spec, wrappings)
    return env


def _bare_vector_env(
    config: EntryConfig, num_envs: int, split: Split, autoreset_mode: AutoresetMode, wrappings: Sequence[Wrapping]
) -> AnyVectorEnv:
    """The batched environment with the wrappers of its single environments only."""
    target = find_environment(config.env)
    kwargs = dict(config.env.kwargs)
    vector_class, single_class = _classes(target)
    if vector_class is not None and (is_fleet(target) or not isinstance(target, EnvSpec)):
        check_batch_only(wrappings, config.env.id)
    wraps = around_single(wrappings)
    if is_fleet(target):
        kwargs |= _fleet_arguments(config, split)
        if vector_class is not None:
            kwargs |= {"num_envs": num_envs, "threads": config.threads, "autoreset_mode": autoreset_mode}
            if isinstance(target, EnvSpec):
                batched = partial(gymnasium.make_vec, target, vectorization_mode="vector_entry_point")
                return _vectorised(batched, vector_class, kwargs)
            return _vectorised(vector_class, vector_class, kwargs)
    if isinstance(target, EnvSpec):
        mode = {"autoreset_mode": autoreset_mode}
        lined_up = partial(
            gymnasium.make_vec, target, num_envs, vectorization_mode="sync", vector_kwargs=mode, wrappers=wraps
        )
        return _vectorised(lined_up, None, kwargs)
    if vector_class is not None:
        takes_mode = "autoreset_mode" in inspect.signature(vector_class).parameters
        accepted = {"autoreset_mode": autoreset_mode} if takes_mode else {}
        return _vectorised(vector_class, vector_class, {"num_envs": num_envs, **accepted, **kwargs})
    if single_class is None:
        raise SpecError([f"env.id: {config.env.id!r} is neither a gymnasium.Env nor a gymnasium.vector.VectorEnv"])
    create = partial(_create, single_class, single_class, kwargs)

    def single() -> Any:
        return reduce(lambda env, wrap: wrap(env), wraps, create())

    return SyncVectorEnv([single] * num_envs, autoreset_mode=autoreset_mode)


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
        except (ImportError, ValueError, SyntaxError) as error:
            hint = "start in the folder that holds it, or put that folder on PYTHONPATH"
            raise SpecError([f"env.id: cannot import {module!r} of {env.id!r} ({error}); {hint}"]) from error
        except Exception as error:  # whatever a user's module does when it is imported
            problem = f"cannot import {module!r} of {env.id!r} ({failure(error)}); mend that line"
            raise SpecError([f"env.id: {problem}"]) from error
        found = getattr(imported, name, None)
        if isinstance(found, type):
            return found
    try:
        spec = gymnasium.spec(name)
    except gymnasium.error.Error as error:
        hint = "; write a Gymnasium id, 'module:namespace/Name-v0' or 'module:Class'"
        raise SpecError([f"env.id: {str(error).rstrip('.')}{hint}"]) from None
    scenario = spec.kwargs.get("scenario")
    if scenario is not None and is_fleet(spec):
        raise SpecError([f"env.id: {spec.id} brings a scenario, which has a key of its own; write scenario={scenario}"])
    return spec


def is_fleet(target: EnvSpec | type[Any]) -> bool:
    """Whether an environment is built from a scenario."""
    return any(found is not None and issubclass(found, (FleetVectorEnv, FleetEnv)) for found in _classes(target))


def _classes(target: EnvSpec | type[Any]) -> tuple[type[Any] | None, type[Any] | None]:
    """The classes behind an environment's own batched form and behind its single form."""
    entries = [target.vector_entry_point, target.entry_point] if isinstance(target, EnvSpec) else [target, target]
    found = [load_env_creator(entry) if isinstance(entry, str) else entry for entry in entries]
    vector, single = (entry if isinstance(entry, type) else object for entry in found)
    return (vector if issubclass(vector, VectorEnv) else None, single if issubclass(single, gymnasium.Env) else None)


def _fleet_arguments(config: EntryConfig, split: Split) -> dict[str, Any]:
    taken = [key for key in config.env.kwargs if key in OWN_ARGUMENTS]
    if taken:
        raise SpecError([f"env.kwargs.{key}: is set by the other keys; leave it out" for key in taken])
    scenario = config.scenario if config.scenario is not None else "default"
    if config.strict_profiles and config.scenario is not None:
        refuse_rooflines(config.scenario)
    return {"scenario": scenario, "split": split, "engine": config.engine}


def _vectorised(create: Callable[..., Any], signature_of: type[Any] | None, kwargs: dict[str, Any]) -> AnyVectorEnv:
    return cast(AnyVectorEnv, _create(create, signature_of, kwargs))


def env_keys(problems: Iterable[str], kwargs: Mapping[str, Any]) -> list[str]:
    """Messages of an environment under the keys of a configuration.

    >>> env_keys(["reward=mine:MyReward: fails", "seed: is wrong"], {"reward": "mine:MyReward"})
    ['env.kwargs.reward=mine:MyReward: fails', 'seed: is wrong']
    """
    own = kwargs.keys() - set(OWN_ARGUMENTS)
    return [f"env.kwargs.{line}" if re.split(r"[.:=]", line)[0] in own else line for line in problems]


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
        raise SpecError(env_keys(error.problems, kwargs)) from error.__cause__
    except gymnasium.error.Error as error:
        raise SpecError([f"env.id: {error}"]) from None
    except TypeError as error:
        if signature_of is None and "argument" in str(error):
            raise SpecError([f"env.kwargs: {error}"]) from None
        raise
