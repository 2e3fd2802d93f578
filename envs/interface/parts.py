"""Observation, action and reward from a user's arguments, and calls of these parts; error messages name the part."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.action import Action, FleetAction, Supervises
from tokenfleet.envs.interface.observation import FleetObservation, Observation, Recalls
from tokenfleet.envs.interface.reward import CapAwareNetValue, CertainValue, NetValue, Reward
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import ESTIMATED, REMEMBERED, SupervisorObservation
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.spec import SpecError, shown, suggest
from tokenfleet.envs.user_code import Guard, check_numbers, import_object, is_ours, named

ACTIONS: dict[str, Callable[[Scenario], Action | Supervises]] = {"direct": FleetAction, "setpoints": SetpointAction}
"""Actions by name."""
REWARDS: dict[str, Callable[[Scenario], Reward]] = {
    "net_value": NetValue,
    "certain_value": CertainValue,
    "cap_aware": CapAwareNetValue,
}
"""Rewards by name."""
_NEEDS = {
    "observation": "a space, and observe(view)",
    "action": "a space, and decode(actions)",
    "reward": "__call__(outcome, price_usd_per_mwh)",
}
"""What messages say that a part of one's own needs at least."""


@dataclass(frozen=True)
class Parts:
    """What stands between a policy and the engine: three parts, and calls of them.

    Attributes:
        observation, action, reward: the parts themselves.
        observe, decode, value: calls of the parts; those of a user's parts are checked.
        track: from decision, view and memory to the controls of the coming tick and the new memory; None for an action
            that gives controls at once.
    """

    observation: Observation | Recalls
    action: Action | Supervises
    reward: Reward
    observe: Callable[[Record, tuple[NDArray[Any], ...]], NDArray[Any]]
    decode: Callable[[NDArray[Any]], Any]
    track: Callable[[Any, Record, Any], tuple[Controls, Any]] | None
    value: Reward


def build_parts(scenario: Scenario, observation: Any, action: Any, reward: Any) -> Parts:
    """The parts that the arguments of `FleetVectorEnv` name.

    Raises:
        SpecError: one of them cannot be built.
    """
    acts = has_methods("space", "decode")
    acted, acted_by = build_part("action", _named("action", action, ACTIONS), scenario, FleetAction, acts)
    if isinstance(observation, Sequence) and not isinstance(observation, str):
        observation = _of_fields(scenario, acted, observation)
    known = {"fleet": FleetObservation, "supervisor": lambda scenario: SupervisorObservation(scenario, acted)}
    named_observation = _named("observation", observation, known)
    seen, seen_by = build_part("observation", named_observation, scenario, FleetObservation, is_observation)
    supervises = isinstance(acted, Supervises)
    value, valued = build_reward(scenario, reward)
    return Parts(
        observation=seen,
        action=acted,
        reward=valued,
        observe=checked_observe(seen, seen_by),
        decode=acted.decode if supervises else checked_decode(acted, acted_by, scenario),
        track=checked_track(acted, acted_by, scenario) if supervises else None,
        value=value,
    )


def build_reward(scenario: Scenario, reward: Any) -> tuple[Reward, Reward]:
    """A call of the reward that the argument of `FleetVectorEnv` names, checked for a user's reward; and the reward.

    Raises:
        SpecError: it cannot be built.
    """
    valued, guard = build_part("reward", _named("reward", reward, REWARDS), scenario, NetValue, is_reward)
    return checked_reward(valued, guard), valued


def _of_fields(scenario: Scenario, action: Any, names: Sequence[str]) -> FleetObservation | SupervisorObservation:
    """The least observation that has the fields of these names."""
    if {field.name for field in (*ESTIMATED, *REMEMBERED)} & set(names):
        return SupervisorObservation(scenario, action, names)
    return FleetObservation(scenario, names)


def build_part(
    role: str, part: Any, scenario: Scenario, default: Callable[[Scenario], Any], is_part: Callable[[Any], bool]
) -> tuple[Any, Guard | None]:
    """The part that `part` names, and a guard for calls of it if it is the user's.

    Args:
        role: the argument that it was given as, for messages: `observation`, `action` or `reward`.
        part: None for the default; a `"module:Class"` string; a class or another callable that takes the scenario; or
            a finished part.
        scenario: given to whatever builds the part.
        default: builds the part if None is given.
        is_part: whether an object is a finished part.

    Raises:
        SpecError: nothing can be imported by that name, it fails, or what comes out is not a part.
    """
    if part is None:
        return default(scenario), None
    guard = Guard(named(role, part))
    with guard:
        found = import_object(part) if isinstance(part, str) else part
        built = found
        if isinstance(found, type) or not is_part(found):
            if not callable(found):
                raise guard.refuse(f"must be a part, or a class that takes the scenario (got {shown(found)})")
            _check_takes_scenario(found, scenario)
            built = found(scenario)
        if not is_part(built):
            example = f"{default.__module__}.{default.__name__}"
            raise guard.refuse(f"gives {type(built).__name__}, which must have {_NEEDS[role]}; see {example}")
        if role != "reward" and not isinstance(built.space, gymnasium.Space):
            raise guard.refuse(f"its space must be a gymnasium.Space (got {shown(built.space)})")
    return built, None if is_ours(built) else guard


def _named(role: str, part: Any, known: Mapping[str, Any]) -> Any:
    """The part with a name; anything other than a name, as it is.

    Raises:
        SpecError: the name is unknown.
    """
    if not isinstance(part, str) or ":" in part:
        return part
    if part not in known:
        raise SpecError([f"{role}: unknown name {part!r}{suggest(part, known)}, or 'module:Class'"])
    return known[part]


def _check_takes_scenario(builder: Callable[..., Any], scenario: Scenario) -> None:
    try:
        inspect.signature(builder).bind(scenario)
    except TypeError as error:
        raise SpecError([f"must take the scenario and need nothing else ({error})"]) from None


def has_methods(*names: str) -> Callable[[Any], bool]:
    """A test for objects with all of these attributes."""
    return lambda part: all(hasattr(part, name) for name in names)


def is_observation(part: Any) -> bool:
    """Whether an object has a space, and shows a view."""
    return hasattr(part, "space") and (hasattr(part, "observe") or hasattr(part, "recall"))


def is_reward(part: Any) -> bool:
    """Whether an object can be called with an outcome and a price, and not with a scenario alone.

    >>> is_reward(lambda outcome, price: {}), is_reward(lambda scenario: None)
    (True, False)
    """
    if not callable(part):
        return False
    required = [
        parameter
        for parameter in inspect.signature(part).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == 2


def checked_reward(reward: Reward, guard: Guard | None) -> Reward:
    """The reward; of a user's reward, each call is checked for the same terms, `[N]` numbers each."""
    if guard is None:
        return reward
    names: list[str] = []

    def call(outcome: Record, price_usd_per_mwh: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        with guard:
            terms = reward(outcome, price_usd_per_mwh)
        if not isinstance(terms, Mapping) or not terms:
            raise guard.refuse(f"must give a dict of terms, one array [N] each (got {shown(terms)})")
        for name, value in terms.items():
            check_numbers(guard, f"term {name!r} [N]", value, (len(outcome.rows),))
        names.extend([] if names else terms)
        if list(terms) != names:
            raise guard.refuse(f"must give the same terms at every call, {', '.join(names)} (got {', '.join(terms)})")
        return dict(terms)

    return call


def checked_observe(
    observation: Observation | Recalls, guard: Guard | None
) -> Callable[[Record, tuple[NDArray[Any], ...]], NDArray[Any]]:
    """Rows from a view and the action's memory; those of a user's observation are checked against its space."""

    def show(view: Record, memory: tuple[NDArray[Any], ...]) -> NDArray[Any]:
        return observation.recall(view, memory) if isinstance(observation, Recalls) else observation.observe(view)

    if guard is None:
        if isinstance(observation, Recalls):
            return observation.recall
        plain = observation.observe
        return lambda view, memory: plain(view)

    def observe(view: Record, memory: tuple[NDArray[Any], ...]) -> NDArray[Any]:
        with guard:
            rows = show(view, memory)
        space = observation.space
        check_numbers(guard, "observations [N, ...]", rows, (len(view.rows), *space.shape), space.dtype)
        return rows

    return observe


def checked_decode(action: Action, guard: Guard | None, scenario: Scenario) -> Callable[[NDArray[Any]], Controls]:
    """`action.decode`; of a user's action, the controls are checked for the right shapes."""
    if guard is None:
        return action.decode
    sizes = axis_sizes(scenario)

    def decode(rows: NDArray[Any]) -> Controls:
        with guard:
            controls = action.decode(rows)
        return _checked_controls(guard, "decode", controls, {"N": len(rows), **sizes})

    return decode


def checked_track(
    action: Supervises, guard: Guard | None, scenario: Scenario
) -> Callable[[Any, Record, Any], tuple[Controls, Any]]:
    """`action.controls`; of a user's action, the controls are checked for the right shapes."""
    if guard is None:
        return action.controls
    sizes = axis_sizes(scenario)

    def track(decision: Any, view: Record, memory: Any) -> tuple[Controls, Any]:
        with guard:
            controls, after = action.controls(decision, view, memory)
        return _checked_controls(guard, "controls", controls, {"N": len(view.rows), **sizes}), after

    return track


def _checked_controls(guard: Guard, method: str, controls: Any, sizes: Mapping[str, int]) -> Controls:
    if not isinstance(controls, Controls):
        raise guard.refuse(f"{method} must give Controls (got {type(controls).__name__})")
    for declared in quantities_of(Controls):
        value = getattr(controls, declared.name)
        if value is not None or not declared.optional:
            check_numbers(guard, f"controls.{declared.name}", value, declared.shape(sizes))
    return controls
