"""Observation, action and reward from whatever a user names them by."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError


def build_part(
    part: Any, scenario: Scenario, default: Callable[[Scenario], Any], is_part: Callable[[Any], bool]
) -> Any:
    """The part that `part` names.

    Args:
        part: None for the default; a `"module:Class"` string; a class or another callable that takes the scenario; or
            a finished part.
        scenario: given to whatever builds the part.
        default: builds the part if None is given.
        is_part: whether an object is a finished part.

    Raises:
        SpecError: nothing can be imported by that name, or what comes out is not a part.
    """
    named = import_object(part) if isinstance(part, str) else part
    if named is None:
        return default(scenario)
    if not isinstance(named, type) and is_part(named):
        return named
    if callable(named):
        _check_takes_scenario(named, part, scenario)
    built = named(scenario) if callable(named) else named
    if not is_part(built):
        example = f"{default.__module__}.{default.__name__}"
        raise SpecError(
            [f"{part!r} gives {type(built).__name__}, which lacks what an environment needs; see {example}"]
        )
    return built


def import_object(path: str) -> Any:
    """The object that `module:name` names.

    >>> import_object("tokenfleet.envs.parts:import_object").__name__
    'import_object'

    Raises:
        SpecError: there is no such module or name.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise SpecError([f"cannot import {path!r} ({error}); write 'module:Class'"]) from None


def _check_takes_scenario(builder: Callable[..., Any], part: Any, scenario: Scenario) -> None:
    try:
        inspect.signature(builder).bind(scenario)
    except TypeError as error:
        raise SpecError([f"{part!r} must take the scenario and need nothing else ({error})"]) from None


def has_methods(*names: str) -> Callable[[Any], bool]:
    """A test for objects with all of these attributes."""
    return lambda candidate: all(hasattr(candidate, name) for name in names)


def is_reward(candidate: Any) -> bool:
    """Whether an object can be called with an outcome and a price, and not with a scenario alone.

    >>> is_reward(lambda outcome, price: {}), is_reward(lambda scenario: None)
    (True, False)
    """
    if not callable(candidate):
        return False
    required = [
        parameter
        for parameter in inspect.signature(candidate).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == 2
