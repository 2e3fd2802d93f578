"""Policies by name: what a configuration says, `least_work` or `{name: least_work, clocking: full}`, becomes an object.

A name of ours, a name that a user registered, and `module:Class` are used alike. The constructor's signature is the
only declaration of a policy's parameters: names, types, ranges and defaults are checked against it, and every mistake
is reported at once. The same `build` serves the parts that policies are composed of.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import Guard, import_object, is_ours
from tokenfleet.policies.base import Policy, PolicyContext
from tokenfleet.policies.parameters import check_parameters
from tokenfleet.policies.policy_files import resolved
from tokenfleet.policies.presets import Preset as Preset
from tokenfleet.policies.shipped import POLICIES as POLICIES

Choice = str | Mapping[str, Any]
"""A name, a `module:Class`, or a mapping with `name` and parameters."""


def register_policy(name: str, target: str | type[Any], **parameters: Any) -> None:
    """Make `target` available as `name`.

    Args:
        name: must be free; a name that already means exactly this is left alone.
        target: a class whose constructor takes a `PolicyContext`, or `module:Class` of one.
        parameters: keyword arguments of the preset.

    Raises:
        SpecError: the name already means something else.
    """
    entry = Preset(target, parameters)
    if POLICIES.setdefault(name, entry) != entry:
        raise SpecError([f"policy: the name {name!r} is taken by {POLICIES[name].target}; choose another"])


def make_policy(choice: Choice, context: PolicyContext) -> Policy:
    """Build a policy.

    Args:
        choice: `"least_work"`, `{"name": "least_work", "clocking": "full"}`, either with `"module:Class"` as name, or a
            file (see `tokenfleet.policies.policy_files`).
        context: the environment that it will act in.

    Raises:
        SpecError: one line per mistake.
    """
    return build_policy(resolved(choice), context)


def build_policy(choice: Choice, context: PolicyContext) -> Policy:
    """`make_policy` for a choice that is not a file."""
    name, _ = _split(choice, POLICIES, "policy")
    simulator = context.simulator if plans_on_copies(name) else None
    policy = build(choice, POLICIES, "policy", replace(context, policy_name=name, simulator=simulator))
    if not callable(getattr(policy, "predict", None)):
        raise SpecError([f"policy.{name}: has no method predict(observation, state, episode_start, deterministic)"])
    return cast(Policy, policy)


def plans_on_copies(name: str) -> bool:
    """Whether a policy, by name or `module:Class`, declares that it needs a simulator of its environment."""
    target, _ = target_of(name, POLICIES, "policy")
    return bool(getattr(target, "needs_simulator", False))


def build(choice: Choice, choices: Mapping[str, Preset], where: str, *arguments: Any) -> Any:
    """Look a choice up, check its parameters against the constructor, and construct it.

    Args:
        choice: see `Choice`.
        choices: the known names.
        where: dotted prefix of every message, for example `policy`.
        arguments: the constructor's leading arguments, which no configuration sets.

    Raises:
        SpecError: one line per mistake.
    """
    name, given = _split(choice, choices, where)
    target, preset = target_of(name, choices, where)
    _check_takes(target, arguments, f"{where}.{name}")
    parameters = check_parameters(target, len(arguments), {**preset, **given}, f"{where}.{name}")
    if is_ours(target):
        return target(*arguments, **parameters)
    with Guard(f"{where}={name}"):
        return target(*arguments, **parameters)


def target_of(name: str, choices: Mapping[str, Preset], where: str) -> tuple[Any, Mapping[str, Any]]:
    """The class that a name of `choices`, or `module:Class`, stands for, and the parameters of its preset.

    Raises:
        SpecError: it cannot be imported, or cannot be called.
    """
    entry = choices.get(name, Preset(name))
    return _import(entry.target, where) if isinstance(entry.target, str) else entry.target, entry.parameters


def _split(choice: Choice, choices: Mapping[str, Preset], where: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a choice whose name exists."""
    given = {"name": choice} if isinstance(choice, str) else choice
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise SpecError([f"{where}: must be a name, or a mapping with a name and parameters (got {choice!r})"])
    name = given["name"]
    if name not in choices and ":" not in name:
        raise SpecError([f"{where}: unknown name {name!r}{suggest(name, choices)}, or 'module:Class'"])
    return name, {str(key): value for key, value in given.items() if key != "name"}


def _import(target: str, where: str) -> Any:
    try:
        found = import_object(target)
    except SpecError as error:
        raise SpecError([f"{where}: {problem}" for problem in error.problems]) from error.__cause__
    if not callable(found):
        raise SpecError([f"{where}: {target!r} is not a class (got {found!r})"])
    return found


def _check_takes(target: Any, arguments: tuple[Any, ...], where: str) -> None:
    try:
        inspect.signature(target).bind_partial(*arguments)
    except (TypeError, ValueError):
        first = " and ".join(f"a {type(argument).__name__}" for argument in arguments)
        raise SpecError([f"{where}: its constructor must take {first} first"]) from None
