"""The keyword parameters of a class that a user names: read from its signature, which is their only declaration."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import ConfigDict, create_model

from tokenfleet.envs.spec import Spec, SpecError


class _Parameters(Spec):
    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())


def check_parameters(
    target: Any,
    leading: int,
    data: Mapping[str, Any],
    where: str,
    withheld: Collection[str] = (),
    typed: bool = True,
) -> dict[str, Any]:
    """Values for the keyword parameters of `target`, checked by name, and by type where the signature gives one.

    Args:
        target: a class or another callable.
        leading: how many arguments are passed by position; no configuration sets them.
        data: values by name.
        where: dotted prefix of every message.
        withheld: parameters that the caller sets by itself.
        typed: whether to check types; Gymnasium's own wrappers take more than their signatures say.

    Raises:
        SpecError: one line per parameter that is unknown, missing or of the wrong type.
    """
    parameters, open_ended = keyword_parameters(target, leading)
    unchecked = {name: value for name, value in data.items() if open_ended and name not in parameters}
    fields: dict[str, Any] = {
        name: (
            parameter.annotation if typed else Any,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for name, parameter in parameters.items()
        if not name.startswith("_") and name not in withheld
    }
    known = {name: value for name, value in data.items() if name not in unchecked}
    try:
        checked = create_model("Parameters", __base__=_Parameters, **fields).parse(known, where)
    except SpecError as error:
        raise SpecError(_one_line_each(error.problems, known, parameters, where)) from None
    return {name: unchecked[name] if name in unchecked else getattr(checked, name) for name in data}


def keyword_parameters(target: Any, leading: int) -> tuple[dict[str, inspect.Parameter], bool]:
    """Every keyword parameter, including those that `**kwargs` passes on to a base class.

    Args:
        target: a class or another callable.
        leading: how many arguments are passed by position.

    Returns:
        Parameters by name, with types as annotations, and whether `target` takes any other name as well.
    """
    found: dict[str, inspect.Parameter] = {}
    open_ended = False
    for depth, (function, first) in enumerate(_constructors(target, leading)):
        hints = _hints(function)
        declared = list(inspect.signature(function).parameters.values())
        positional = [p for p in declared if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        handed_in = {parameter.name for parameter in positional[:first]}
        for parameter in declared:
            is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if is_named and parameter.name not in handed_in:
                # The class itself may supply what its base class requires.
                default = None if depth and parameter.default is parameter.empty else parameter.default
                typed = parameter.replace(annotation=hints.get(parameter.name, Any), default=default)
                found.setdefault(parameter.name, typed)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in declared):
            return found, False
        open_ended = True
    return found, open_ended


def _constructors(target: Any, leading: int) -> Iterator[tuple[Any, int]]:
    """The callables, the class's own constructor first, and how many arguments each gets by position."""
    if not inspect.isclass(target):
        yield target, leading
        return
    for base in target.__mro__:
        if "__init__" in vars(base) and base is not object:
            yield vars(base)["__init__"], leading + 1  # with self


def _hints(function: Any) -> dict[str, Any]:
    """Types of parameters, without those that only a type checker can import."""
    hints: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = SimpleNamespace(__annotations__={name: annotation})
        with contextlib.suppress(NameError):
            hints |= get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True)
    return hints


def _one_line_each(
    problems: tuple[str, ...], data: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter], where: str
) -> list[str]:
    """One line for each value; pydantic has a line for each type that a value fails to fit."""
    lines: dict[str, list[str]] = {}
    for line in problems:
        key = line.removeprefix(f"{where}.").partition(":")[0].partition(".")[0]
        lines.setdefault(key, []).append(line)
    return [
        found[0]
        if len(found) == 1
        else f"{where}.{key}: must be {inspect.formatannotation(parameters[key].annotation)} (got {data[key]!r})"
        for key, found in lines.items()
    ]
