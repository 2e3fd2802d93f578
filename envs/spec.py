"""The base of every validated description: frozen, no unknown keys, one readable message per mistake.

A *spec* is a small pydantic model that a person writes as YAML. It is checked once, where it enters; everything behind
it trusts the values. `SpecError` carries one line per mistake, each naming the dotted key, the value that was given,
what is allowed and, for a misspelt name, the likely fix.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnitFraction = Annotated[float, Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
MAX_TOKENS = 100_000_000
"""Most tokens of a prompt or of an answer, whoever asks: ten times the longest context of any model today. Engines add
up a few of such numbers in 32 bits and many in 64."""
TokenCount = Annotated[int, Field(gt=0, le=MAX_TOKENS, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

SpecType = TypeVar("SpecType", bound="Spec")
_KEYED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*: ")
_MAPPING = "must be a mapping of keys to values"
_WORDS = {"dict_type": _MAPPING, "model_type": _MAPPING, "tuple_type": "must be a list"}
"""What a person is told where pydantic speaks of Python's types."""


class SpecError(ValueError):
    """A description that cannot be used; `problems` holds one line per mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Spec(BaseModel):
    """A frozen description that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, data: Any, where: str = "") -> Self:
        """Build from plain data.

        Args:
            data: what YAML or JSON gave, normally a mapping.
            where: dotted prefix of every key in a message, for example `scenario`.

        Raises:
            SpecError: one line per mistake.
        """
        if not isinstance(data, Mapping):
            raise SpecError([f"{where or cls.__name__}: {_MAPPING} (got {data!r})"])
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise SpecError(_messages(error, cls, where)) from None


def suggest(name: object, choices: Iterable[str]) -> str:
    """Say what the choices are, the nearest first: `; did you mean 'h100-sxm'? (choose from ...)`."""
    known = sorted(choices)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (choose from {', '.join(known)})" if known else hint


def _messages(error: ValidationError, root: type[BaseModel], where: str) -> list[str]:
    return [_message(dict(item), root, where) for item in error.errors(include_url=False)]


def _message(item: dict[str, Any], root: type[BaseModel], where: str) -> str:
    location = tuple(str(part) for part in item["loc"])
    key = ".".join([where, *location] if where else location)
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        return "\n".join(_inside(key, where, problem) for problem in cause.problems)
    key = key or root.__name__
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{suggest(location[-1], _keys_at(root, location[:-1]))}"
    if item["type"] == "missing":
        return f"{key}: missing; this key is required"
    text = _WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
    text = text[:1].lower() + text[1:]
    if isinstance(cause, ValueError):
        return f"{key}: {text}"
    return f"{key}: {text} (got {item['input']!r})"


def _inside(key: str, where: str, problem: str) -> str:
    """A part's own message, with the place of the part in front: `workload.chat` and `rate_rps: ...` become one key."""
    if not key or (where and problem.startswith(where)):
        return problem
    return f"{key}.{problem}" if _KEYED.match(problem) else f"{key}: {problem}"


def _keys_at(root: type[BaseModel], location: tuple[str, ...]) -> list[str]:
    """The keys that are allowed at a place in the tree, or nothing where the place is not a spec."""
    model: Any = root
    for part in location:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = _mapping_value(model)
            continue
        if part not in model.model_fields:
            return []
        model = _spec_inside(model.model_fields[part].annotation)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _spec_inside(annotation: Any) -> Any:
    """`Spec` for `Spec`, and the annotation itself for `dict[str, Spec]` or `list[Spec]`."""
    return annotation


def _mapping_value(annotation: Any) -> Any:
    arguments = getattr(annotation, "__args__", ())
    return arguments[-1] if arguments else None
