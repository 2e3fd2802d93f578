"""The base of every validated description: frozen, no unknown keys, one readable message per mistake.

A *spec* is a small pydantic model that a person writes as YAML. A spec is checked once, where it enters; everything
behind it trusts the values. `SpecError` carries one line per mistake, each naming the dotted key, the given value, the
allowed ones and, for a misspelt name, the likely fix.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from typing_extensions import Self

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnitFraction = Annotated[float, Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
Count = Annotated[PositiveInt, BeforeValidator(lambda value: whole(value))]
"""`1e6` is a float to YAML and a count to a person."""
MAX_TOKENS = 100_000_000
"""Most tokens of a prompt or of an answer, whoever asks: ten times the longest context of any model today. Engines add
up a few of such numbers in 32 bits and many in 64."""
TokenCount = Annotated[int, Field(gt=0, le=MAX_TOKENS, strict=True)]
MAX_SHORT = 2**15 - 1
"""Most request classes, and most attempts of a request: the native engine numbers these in 16 bits (request.hpp)."""
ShortCount = Annotated[int, Field(gt=0, le=MAX_SHORT, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

SpecType = TypeVar("SpecType", bound="Spec")
_KEYED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(=\S+)?: ")
_MAPPING = "must be a mapping of keys to values"
_WORDS = {"dict_type": _MAPPING, "model_type": _MAPPING, "tuple_type": "must be a list"}
"""Words for a person, where pydantic speaks of Python's types."""


class SpecError(ValueError):
    """A description that cannot be used; `problems` holds one line per mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Spec(BaseModel):
    """A frozen description that refuses unknown keys.

    Infinities stay in plain data. In JSON, which has none, they are words, and are read as numbers again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def __eq__(self, other: object) -> bool:
        # By what was given: what is worked out from it may hold arrays, which say no plain yes or no.
        if not isinstance(other, Spec) or type(self) is not type(other):
            return False
        fields = type(self).model_fields
        same = all(getattr(self, name) == getattr(other, name) for name in fields)
        return same and self.__pydantic_private__ == other.__pydantic_private__

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in type(self).model_fields)))

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
            raise SpecError([f"{where or cls.__name__}: {_MAPPING} (got {shown(data)})"])
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise SpecError(_messages(error, cls, where)) from _cause(error)


class GrowingSpec(Spec):
    """A description whose keys may become more, while scenarios without the new keys keep their hashes.

    Files of tuned and learned policies, and protocols of scores, name the hash of their scenario's plain data.
    """

    later: ClassVar[tuple[str, ...]] = ()
    """Keys that came after such files; plain data has them only where they differ from their defaults."""

    @model_serializer(mode="wrap")
    def _without_unused_later_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        default = {key: type(self).model_fields[key].get_default(call_default_factory=True) for key in self.later}
        unused = {key for key, value in default.items() if getattr(self, key) == value}
        return {key: value for key, value in handler(self).items() if key not in unused}


def whole(value: Any) -> Any:
    """A float that is a whole number as that number; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shown(value: object, longest: int = 120) -> str:
    """A value as a message repeats it: what someone typed, cut off where it would fill the screen.

    >>> print(shown("h100"), shown(list(range(1000)), longest=10))
    'h100' [0, 1, 2,...
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= longest else f"{text[:longest].rstrip()}..."


def counted(count: int, noun: str) -> str:
    """A number and what it counts: `1 row`, `1,200 rows`.

    >>> counted(1, "more column"), counted(1200, "row")
    ('1 more column', '1,200 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def suggest(name: object, choices: Iterable[str]) -> str:
    """Say what the choices are, the nearest first: `; did you mean 'h100-sxm'? (choose from ...)`."""
    known = sorted(choices)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (choose from {', '.join(known)})" if known else hint


def _cause(error: ValidationError) -> BaseException | None:
    """What the first mistake was raised from, if it was: the failure of a user's own code."""
    problems = [item.get("ctx", {}).get("error") for item in error.errors(include_url=False, include_input=False)]
    return next((problem.__cause__ for problem in problems if problem and problem.__cause__), None)


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
    return f"{key}: {text} (got {shown(item['input'])})"


def _inside(key: str, where: str, problem: str) -> str:
    """A part's own message, with the place of the part in front: `workload.chat` and `rate_rps: ...` become one key."""
    if not key or (where and problem.startswith(where)):
        return problem
    return f"{key}.{problem}" if _KEYED.match(problem) else f"{key}: {problem}"


def _keys_at(root: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The allowed keys at a place in the tree; nothing where the place is not a spec."""
    places: list[Any] = [root]
    for part in location:
        # Where one of several types may stand, pydantic names the type between two keys; such a part leads nowhere.
        places = [inside for place in places for inside in _behind(place, part)] or places
    return list(dict.fromkeys(key for place in places if _is_model(place) for key in place.model_fields))


def _behind(place: Any, part: str) -> list[Any]:
    """The types that may stand behind a key or a place in a list."""
    if _is_model(place):
        return _members(place.model_fields[part].annotation) if part in place.model_fields else []
    elements = get_args(place)[-1:] if get_origin(place) is dict else get_args(place)
    return [member for element in elements if element is not Ellipsis for member in _members(element)]


def _members(annotation: Any) -> list[Any]:
    """`Spec` for `Annotated[Spec, ...]`, and `Spec` and `list[Spec]` for `Spec | list[Spec] | None`."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for element in get_args(annotation) for member in _members(element)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
