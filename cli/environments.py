"""From a configuration's `env` to a batched environment: fleets as they are, anything else by Gymnasium."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial, reduce
from types import ModuleType
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from tokenfleet.cli.guarded import GuardedBatch
from tokenfleet.cli.wrappers import (
    Wrapping,
    around_batch,
    around_single,
    check_batch_only,
    find_wrappers,
    with_wrappers,
)
from tokenfleet.configs.entry import ConfigType, EntryConfig, EnvConfig
from tokenfleet.configs.schema import TrainConfig
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.interface.costs import WithCosts, cost_names
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.scenario.provenance import refuse_rooflines
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import NOT_FOUND, Guard, UserCodeError, failure, is_ours, named
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.limited_env import LimitedEnv
from tokenfleet.policies.learned.limits import limits_of
from tokenfleet.policies.parameters import check_parameters, keyword_parameters

AnyVectorEnv = VectorEnv[Any, Any, Any]
OWN_ARGUMENTS = ("scenario", "split", "engine", "strict_profiles", "threads", "num_envs", "autoreset_mode")
"""Constructor arguments of a fleet that have a key of their own or are the entry script's to set."""
_MAKE_ARGUMENTS = ("max_episode_steps", "disable_env_checker", "render_mode")
"""Arguments that `gymnasium.make` takes out before an environment's constructor sees them."""


def make_vector_env(config: EntryConfig, num_envs: int, split: Split, autoreset_mode: AutoresetMode) -> AnyVectorEnv:
    """The batched environment of a configuration.

    Args:
        config: of train.py, tune.py or evaluate.py.
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
    batched, single = _constructors(target)
    fleet = is_fleet(target)
    is_batch = batched is not None and (fleet or not isinstance(target, EnvSpec))
    if is_batch:
        check_batch_only(wrappings, config.env.id)
    constructor = batched if is_batch else single
    if constructor is None:
        raise SpecError([f"env.id: {config.env.id!r} is neither a gymnasium.Env nor a gymnasium.vector.VectorEnv"])
    fleet_arguments = _fleet_arguments(config, split) if fleet else {}
    kwargs = _checked_arguments(config, target, constructor) | fleet_arguments
    create: Callable[..., Any]
    if is_batch:
        create = constructor
        if isinstance(target, EnvSpec):
            create = partial(gymnasium.make_vec, target, vectorization_mode="vector_entry_point")
        kwargs = _batch_arguments(config, constructor, num_envs, autoreset_mode) | kwargs
    elif isinstance(target, EnvSpec):
        create = partial(
            gymnasium.make_vec,
            target,
            num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": autoreset_mode},
            wrappers=around_single(wrappings),
        )
    else:
        create = partial(_lined_up, constructor, num_envs, autoreset_mode, around_single(wrappings))
    env = _made(config, constructor, create, kwargs)
    return env if is_ours(constructor) else GuardedBatch(env, named("env.id", config.env.id))


def _batch_arguments(
    config: EntryConfig, constructor: Callable[..., Any], num_envs: int, autoreset_mode: AutoresetMode
) -> dict[str, Any]:
    """What a batch's own constructor is told beside `env.kwargs`, as far as it takes it."""
    known, open_ended = keyword_parameters(constructor, 0)
    if "num_envs" not in known and not open_ended:
        raise SpecError([f"env.id: the constructor of {config.env.id} must take num_envs, the size of the batch"])
    optional = {"threads": config.threads, "autoreset_mode": autoreset_mode}
    return {"num_envs": num_envs, **{name: value for name, value in optional.items() if name in known}}


def _lined_up(
    constructor: Callable[..., Any],
    num_envs: int,
    autoreset_mode: AutoresetMode,
    wraps: Sequence[Callable[[Any], Any]],
    **kwargs: Any,
) -> AnyVectorEnv:
    """Single environments side by side, each in its wrappers."""

    def single() -> Any:
        return reduce(lambda env, wrap: wrap(env), wraps, constructor(**kwargs))

    return SyncVectorEnv([single] * num_envs, autoreset_mode=autoreset_mode)


def settled(config: ConfigType) -> ConfigType:
    """The configuration without a scenario where the environment is not a fleet: Hydra always composes one.

    Raises:
        SpecError: no such environment.
    """
    return config if is_fleet(find_environment(config.env)) else config.model_copy(update={"scenario": None})


def rewarded(config: TrainConfig) -> TrainConfig:
    """The configuration with the reward of training in `env.kwargs`, if a fleet takes one and none is named there.

    Raises:
        SpecError: no such environment, or limits where no fleet takes a reward.
    """
    target = find_environment(config.env)
    constructor = next((found for found in _constructors(target) if found is not None), None)
    takes_one = is_fleet(target) and "reward" in keyword_parameters(constructor, 0)[0]
    if config.limits.any and not takes_one:
        raise SpecError([f"limits: are for fleets that take a reward (got env.id={config.env.id}); leave them out"])
    if not takes_one or ("reward" in config.env.kwargs and not config.limits.any):
        return config
    kwargs = {"reward": config.reward, **config.env.kwargs}
    if config.limits.any:
        assert config.scenario is not None
        weights = {**kwargs.get("reward_weights", {}), **dict.fromkeys(cost_names(config.scenario), 0.0)}
        kwargs |= {"reward": partial(WithCosts, reward=kwargs["reward"]), "reward_weights": weights}
    return config.model_copy(update={"env": config.env.model_copy(update={"kwargs": kwargs})})


def limited(config: TrainConfig, env: AnyVectorEnv) -> AnyVectorEnv:
    """The environment of a configuration whose reward has the costs (`rewarded`), with its limits.

    Raises:
        SpecError: a limit that the scenario does not know.
    """
    if not config.limits.any:
        return env
    assert config.shifted_scenario is not None
    return LimitedEnv(env, limits_of(config.limits, config.shifted_scenario), config.limits.rate)


def find_environment(env: EnvConfig) -> EnvSpec | type[Any]:
    """What `env.id` names: a registered environment or a class.

    Raises:
        SpecError: it names nothing, code that cannot be imported, or an id of a fleet that brings its scenario.
    """
    module, colon, name = env.id.rpartition(":")
    if colon:
        try:
            imported = importlib.import_module(module)
        except (ImportError, ValueError, SyntaxError) as error:
            raise SpecError([f"env.id: cannot import {module!r} of {env.id!r} ({error}); {NOT_FOUND}"]) from error
        except Exception as error:  # whatever a user's module does when it is imported
            problem = f"cannot import {module!r} of {env.id!r} ({failure(error)}); mend that line"
            raise SpecError([f"env.id: {problem}"]) from error
        found = getattr(imported, name, None)
        if isinstance(found, type):
            return found
    try:
        spec = gymnasium.spec(name)
    except gymnasium.error.Error as error:
        hint = "write a Gymnasium id, 'module:namespace/Name-v0' or 'module:Class'"
        classes = _environments_of(imported) if colon else []
        reason = f"{module!r} has no class {name!r}{suggest(name, classes)}" if classes else str(error).rstrip(".")
        raise SpecError([f"env.id: {reason}; {hint}"]) from None
    scenario = spec.kwargs.get("scenario")
    if scenario is not None and is_fleet(spec):
        raise SpecError([f"env.id: {spec.id} brings a scenario, which has a key of its own; write scenario={scenario}"])
    return spec


def _environments_of(module: ModuleType) -> list[str]:
    """Names of the environment classes that a module defines."""
    classes = (value for value in vars(module).values() if isinstance(value, type))
    found = [value for value in classes if issubclass(value, gymnasium.Env | VectorEnv)]
    return [value.__name__ for value in found if value.__module__ == module.__name__]


def is_fleet(target: EnvSpec | type[Any]) -> bool:
    """Whether an environment is built from a scenario."""
    return any(
        isinstance(found, type) and issubclass(found, (FleetVectorEnv, FleetEnv)) for found in _constructors(target)
    )


def _constructors(target: EnvSpec | type[Any]) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """Makers of an environment's own batched form and of its single form; None where there is none.

    Raises:
        SpecError: a registered environment's code cannot be imported.
    """
    if not isinstance(target, EnvSpec):
        return (
            target if issubclass(target, VectorEnv) else None,
            target if issubclass(target, gymnasium.Env) else None,
        )
    try:
        with Guard(named("env.id", target.id)):
            batched, single = (
                load_env_creator(entry) if isinstance(entry, str) else entry
                for entry in (target.vector_entry_point, target.entry_point)
            )
    except UserCodeError as error:
        if isinstance(error.__cause__, (ImportError, gymnasium.error.Error)):
            raise SpecError([f"env.id: {target.id} needs what is not installed ({error.__cause__})"]) from None
        raise
    return batched, single


def _checked_arguments(
    config: EntryConfig, target: EnvSpec | type[Any], constructor: Callable[..., Any]
) -> dict[str, Any]:
    """`env.kwargs`, checked by the names in the constructor's signature.

    Raises:
        SpecError: one line per argument that is unknown or missing.
    """
    given = config.env.kwargs
    made = _MAKE_ARGUMENTS if isinstance(target, EnvSpec) else ()
    registered = target.kwargs.keys() if isinstance(target, EnvSpec) else ()
    set_here = OWN_ARGUMENTS if is_fleet(target) else ("num_envs", "autoreset_mode")
    withheld = {*registered, *set_here} - given.keys()
    checked = {name: value for name, value in given.items() if name not in made}
    return {**given, **check_parameters(constructor, 0, checked, "env.kwargs", withheld, typed=False)}


def _fleet_arguments(config: EntryConfig, split: Split) -> dict[str, Any]:
    taken = [key for key in config.env.kwargs if key in OWN_ARGUMENTS]
    if taken:
        raise SpecError([f"env.kwargs.{key}: is set by the other keys; leave it out" for key in taken])
    scenario = config.shifted_scenario if config.shifted_scenario is not None else "default"
    if config.strict_profiles and config.scenario is not None:
        refuse_rooflines(config.scenario)
    return {"scenario": scenario, "split": split, "engine": config.engine}


def env_keys(problems: Iterable[str], kwargs: Mapping[str, Any]) -> list[str]:
    """Messages of an environment under the keys of a configuration.

    >>> env_keys(["reward=mine:MyReward: fails", "seed: is wrong"], {"reward": "mine:MyReward"})
    ['env.kwargs.reward=mine:MyReward: fails', 'seed: is wrong']
    """
    own = kwargs.keys() - set(OWN_ARGUMENTS)
    return [f"env.kwargs.{line}" if re.split(r"[.:=]", line)[0] in own else line for line in problems]


def _made(config: EntryConfig, constructor: Any, create: Callable[..., Any], kwargs: Mapping[str, Any]) -> AnyVectorEnv:
    """What a call makes; a failure is the user's own where the environment is.

    Raises:
        SpecError: the environment refuses its arguments, or fails.
    """
    with nullcontext() if is_ours(constructor) else Guard(named("env.id", config.env.id)):
        try:
            return cast(AnyVectorEnv, create(**kwargs))
        except UserCodeError:
            raise
        except SpecError as error:
            raise SpecError(env_keys(error.problems, kwargs)) from error.__cause__
        except gymnasium.error.Error as error:
            raise UserCodeError([f"env.id: {error}"]) from None
