"""Values that YAML can only name: activations, schedules and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.user_code import import_object
from tokenfleet.policies.learned.algorithm_base import Schedule
from tokenfleet.policies.learned.trust import is_class_path

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}


def schedule(rate: Schedule) -> Any:
    """A rate as stable-baselines3 takes it: a function of the progress that remains (1 to 0)."""
    initial, final = rate.initial, rate.final
    if final is None:
        return lambda remaining: initial
    return lambda remaining: final + (initial - final) * max(remaining, 0.0)


def realise(plain: Any, where: str) -> Any:
    """Plain data with objects for what it names: `module:Class`, an activation, or `{initial, final}` for a schedule.

    Args:
        plain: a value of a configuration; mappings and lists are gone through.
        where: dotted key, for messages.

    Raises:
        SpecError: a class that cannot be imported, or no valid schedule.
    """
    if isinstance(plain, Mapping):
        if "initial" in plain and set(plain) <= set(Schedule.model_fields):
            return schedule(Schedule.parse(plain, where))
        return {key: realise(value, f"{where}.{key}") for key, value in plain.items()}
    if isinstance(plain, list):
        return [realise(value, where) for value in plain]
    if is_class_path(plain):
        return import_class(plain, where)
    return ACTIVATIONS.get(plain, plain) if isinstance(plain, str) else plain


def import_class(path: str, where: str) -> Any:
    """The class that `module:Class` names.

    Raises:
        SpecError: it cannot be imported, or is no class.
    """
    try:
        found = import_object(path)
    except SpecError as error:
        raise SpecError([f"{where}: {problem}" for problem in error.problems]) from None
    if not isinstance(found, type):
        raise SpecError([f"{where}: {path!r} is not a class (got {found!r})"])
    return found
