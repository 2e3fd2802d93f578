"""What a tuner may move of a policy: the numbers in its constructor, each on a scale where 1 is a big step.

A positive number with a lower bound of 0 or more and no upper bound moves on a logarithmic scale, a number between two
bounds in halves of their distance, any other by its own size. Parameters that name parts, such as a clock rule or a
list of clock rules, add the numbers of these parts. A policy may define its own scale (`TunesItself`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, runtime_checkable

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from pydantic.fields import FieldInfo

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.parameters import keyword_parameters
from tokenfleet.policies.registry import POLICIES, Preset, build_policy, target_of

Float64Array = NDArray[np.float64]
Path = tuple[str | int, ...]
"""Keys, and places in lists, that lead to something inside a choice."""
MARGIN = 1e-6
"""How far a number stays inside an excluded bound, as a share of the distance between the bounds."""
DIGITS = 6


@runtime_checkable
class TunesItself(Protocol):
    """A policy with a scale of its own for its numbers."""

    def tuned_from(self) -> Float64Array:
        """Where a tuner begins, `[D]`."""

    def tuned_to(self, numbers: Float64Array) -> dict[str, Any]:
        """The parameters that numbers `[D]` stand for."""


@dataclass(frozen=True)
class Tunable:
    """The numbers of a policy.

    Attributes:
        start: the policy's present numbers, on the tuner's scales, `[D]`.
        choice: maps numbers `[D]` to the policy with these numbers, as the registry takes it.
    """

    start: Float64Array
    choice: Callable[[Float64Array], dict[str, Any]]


@dataclass(frozen=True)
class TunableNumber:
    """A parameter that is a number.

    Attributes:
        path: leads to its key in the choice, and to its place in a list of parts.
        value: its present value.
        low, high: bounds; infinite where there is none.
        whole: whether it is a whole number.
    """

    path: Path
    value: float
    low: float
    high: float
    whole: bool

    def moved(self, step: float) -> float | int:
        """The number after a step on its scale."""
        if self.low >= 0.0 and math.isinf(self.high) and self.value > 0.0:
            moved = self.value * math.exp(float(np.clip(step, -20.0, 20.0)))
        elif math.isinf(self.low) or math.isinf(self.high):
            moved = self.value + step * (abs(self.value) or 1.0)
        else:
            moved = self.value + step * (self.high - self.low) / 2.0
        moved = min(max(moved, self.low), self.high)
        return round(moved) if self.whole else float(f"{moved:.{DIGITS}g}")


def tunable(choice: str | Mapping[str, Any], context: PolicyContext) -> Tunable:
    """What a tuner may move of a policy.

    Args:
        choice: as the registry takes it, but not a file.
        context: the environment that it will act in.

    Raises:
        SpecError: there is no such policy, or it declares no numbers.
    """
    policy = build_policy(choice, context)
    given: dict[str, Any] = {"name": choice} if isinstance(choice, str) else dict(choice)
    if isinstance(policy, TunesItself):
        itself = policy
        return Tunable(itself.tuned_from(), lambda numbers: {**given, **itself.tuned_to(numbers)})
    spelled = _spelled(given, POLICIES)
    numbers = list(_numbers(spelled, POLICIES, ()))
    if not numbers:
        raise SpecError([f"policy: {given['name']} declares no number that could be tuned; choose another"])

    def moved(steps: Float64Array) -> dict[str, Any]:
        result = spelled
        for number, step in zip(numbers, steps.tolist(), strict=True):
            result = _with(result, number.path, number.moved(step))
        return result

    return Tunable(np.zeros(len(numbers)), moved)


def _spelled(given: Mapping[str, Any], choices: Mapping[str, Preset]) -> dict[str, Any]:
    """A choice with its parts written out, including parts from its preset and from defaults."""
    target, preset = target_of(str(given["name"]), choices, "policy")
    parameters, _ = keyword_parameters(target, 1)
    left_out = {
        name: preset.get(name, parameters[name].default)
        for name in getattr(target, "parts", {})
        if name in parameters and name not in given
    }
    spelled = {**given, **left_out}
    for path, part, inner in _parts(spelled, choices):
        spelled = _with(spelled, path, _spelled(part, inner))
    return spelled


def _parts(
    spelled: Mapping[str, Any], choices: Mapping[str, Preset]
) -> Iterator[tuple[Path, Mapping[str, Any], Mapping[str, Preset]]]:
    """The parts of a policy: where each stands, what is chosen, and what could be chosen.

    A parameter may hold one part, or a list of parts.
    """
    target, _ = target_of(str(spelled["name"]), choices, "policy")
    for name, inner in getattr(target, "parts", {}).items():
        if name not in spelled:
            continue
        chosen = spelled[name]
        if isinstance(chosen, (list, tuple)):
            yield from (((name, place), _as_mapping(part), inner) for place, part in enumerate(chosen))
        else:
            yield (name,), _as_mapping(chosen), inner


def _as_mapping(part: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": part} if isinstance(part, str) else part


def _numbers(spelled: Mapping[str, Any], choices: Mapping[str, Preset], path: Path) -> Iterator[TunableNumber]:
    """The numbers of a choice, and those of its parts."""
    target, preset = target_of(str(spelled["name"]), choices, "policy")
    for name, parameter in keyword_parameters(target, 1)[0].items():
        value = {**preset, **spelled}.get(name, parameter.default)
        if type(value) in (int, float) and math.isfinite(value):
            yield TunableNumber((*path, name), value, *_bounds(parameter.annotation))
    for inside, part, inner in _parts(spelled, choices):
        yield from _numbers(part, inner, (*path, *inside))


def _bounds(annotation: Any) -> tuple[float, float, bool]:
    """The bounds of an annotated number, an excluded one moved inward a little, and whether the number is whole.

    Of several types, such as a number or None, the first with bounds counts.
    """
    if get_origin(annotation) in (Union, UnionType):
        annotation = next((one for one in get_args(annotation) if get_origin(one) is Annotated), annotation)
    base, *told = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    limits = [limit for one in told for limit in (one.metadata if isinstance(one, FieldInfo) else [one])]
    low = max((_bound(limit) for limit in limits if isinstance(limit, (Gt, Ge))), default=-math.inf)
    high = min((_bound(limit) for limit in limits if isinstance(limit, (Lt, Le))), default=math.inf)
    span = high - low
    inset = 1.0 if base is int else MARGIN * span if math.isfinite(span) else 0.0
    low += inset * any(isinstance(limit, Gt) for limit in limits)
    high -= inset * any(isinstance(limit, Lt) for limit in limits)
    return low, high, base is int


def _bound(limit: Gt | Ge | Lt | Le) -> float:
    return float(getattr(limit, type(limit).__name__.lower()))


def _with(choice: Any, path: Path, value: Any) -> Any:
    """A choice with the number or part at `path` set."""
    if not path:
        return value
    first, *rest = path
    changed: Any = list(choice) if isinstance(choice, (list, tuple)) else dict(choice)
    changed[first] = _with(changed[first] if rest else None, tuple(rest), value)
    return changed
