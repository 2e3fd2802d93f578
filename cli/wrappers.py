"""`env.wrappers`: Gymnasium wrappers by name, around single environments or around the batch, in the order given.

A name without a module means the wrapper of `gymnasium.wrappers.vector`, or else that of `gymnasium.wrappers`: a fleet
is a batch from the start, and statistics are best shared by the whole batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import gymnasium
import gymnasium.wrappers.vector
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.vector import AutoresetMode, VectorEnv, VectorObservationWrapper, VectorWrapper
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from gymnasium.wrappers.utils import RunningMeanStd
from numpy.typing import NDArray

from tokenfleet.cli.guarded import GuardedBatch, GuardedSingle
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import Guard, UserCodeError, import_object
from tokenfleet.policies.learned.wrapper_state import tells_state
from tokenfleet.policies.parameters import check_parameters

AnyVectorEnv = VectorEnv[Any, Any, Any]
_LEADING = 1
"""Arguments of a wrapper by position: the environment."""
SINGLE, VECTOR = "gymnasium.wrappers", "gymnasium.wrappers.vector"


@dataclass(frozen=True)
class Wrapping:
    """A wrapper that a configuration names.

    Attributes:
        where: its key, for messages.
        wrapper: the class.
        arguments: keyword arguments of its constructor.
    """

    where: str
    wrapper: type[Any]
    arguments: Mapping[str, Any]

    @property
    def of_batch(self) -> bool:
        """Whether it wraps a vector environment."""
        return issubclass(self.wrapper, VectorWrapper)

    @property
    def part(self) -> str | None:
        """What messages call it; None for one of Gymnasium's, whose failures are not the user's to mend."""
        path = f"{self.wrapper.__module__}:{self.wrapper.__qualname__}"
        return None if path.startswith("gymnasium.") else f"{self.where}={path}"


def find_wrappers(choices: Sequence[Any]) -> tuple[Wrapping, ...]:
    """What a configuration's `env.wrappers` names.

    Raises:
        SpecError: one line per wrapper that does not exist, does not take its arguments, or wraps single environments
            and stands behind one that wraps the batch.
    """
    found: list[Wrapping] = []
    problems: list[str] = []
    for index, choice in enumerate(choices):
        try:
            found.append(_find(f"env.wrappers[{index}]", choice))
        except SpecError as error:
            problems += error.problems
    first_of_batch = next((wrapping for wrapping in found if wrapping.of_batch), None)
    after = found[found.index(first_of_batch) :] if first_of_batch else []
    problems += [
        f"{wrapping.where}: {wrapping.wrapper.__name__} wraps single environments and must stand before "
        f"{first_of_batch.where}, {first_of_batch.wrapper.__name__}, which wraps the batch"
        for wrapping in after
        if first_of_batch and not wrapping.of_batch
    ]
    if problems:
        raise SpecError(problems)
    return tuple(found)


def not_resumable(choices: Sequence[Any]) -> list[str]:
    """The wrappers of the batch that do not tell their state; those of single environments are reset with them."""
    wrappings = find_wrappers(choices)
    return [
        f"{wrapping.where}, {wrapping.wrapper.__name__},"
        for wrapping in wrappings
        if wrapping.of_batch and not tells_state(wrapping.wrapper)
    ]


def check_batch_only(wrappings: Sequence[Wrapping], env_id: str) -> None:
    """Refuse wrappers of single environments where there are none.

    Raises:
        SpecError: one line per wrapper, with the vector wrapper of the same name if there is one.
    """
    problems = []
    for wrapping in wrappings:
        if not wrapping.of_batch:
            name = wrapping.wrapper.__name__
            counterpart = getattr(gymnasium.wrappers.vector, name, None)
            hint = f"use {VECTOR}:{name}" if counterpart else "write it as a gymnasium.vector.VectorWrapper"
            problems.append(
                f"{wrapping.where}: {name} wraps a single environment, and {env_id} is a batch from the start, which "
                f"takes wrappers of {VECTOR} only; {hint}"
            )
    if problems:
        raise SpecError(problems)


def around_single(wrappings: Sequence[Wrapping]) -> list[Callable[[Any], Any]]:
    """Functions that wrap a single environment, in order; wrappers of the batch are left out."""
    return [partial(_wrap_single, wrapping) for wrapping in wrappings if not wrapping.of_batch]


def around_batch(env: AnyVectorEnv, wrappings: Sequence[Wrapping]) -> AnyVectorEnv:
    """A vector environment in its wrappers; those of single environments are left out.

    Raises:
        SpecError: a wrapper that does not work here.
    """
    for wrapping in wrappings:
        if wrapping.of_batch:
            env = _wrap_batch(wrapping, env)
    return env


def with_wrappers(spec: EnvSpec, wrappings: Sequence[Wrapping]) -> EnvSpec:
    """How an environment was made, with the wrappers that it was given."""
    told = copy.copy(spec)
    told.additional_wrappers = tuple(
        WrapperSpec(
            name=wrapping.wrapper.__name__,
            entry_point=f"{wrapping.wrapper.__module__}:{wrapping.wrapper.__qualname__}",
            kwargs=dict(wrapping.arguments),
        )
        for wrapping in wrappings
    )
    return told


class SameStepObservation(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector observation wrapper in autoreset mode `SAME_STEP`; Gymnasium's own refuse this mode.

    In that mode the last observation of an episode stands in `infos["final_obs"]`. The wrapper transforms that
    observation as well, without counting it in running statistics.

    Args:
        env: in autoreset mode `SAME_STEP`.
        make: makes the wrapper around an environment.
    """

    is_adapter = True

    def __init__(self, env: AnyVectorEnv, make: Callable[[AnyVectorEnv], Any]) -> None:
        super().__init__(make(_NextStepFace(env)))
        self.metadata = env.metadata
        self._inner_space = env.single_observation_space

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos = {**infos, "final_obs": self._transformed(infos["final_obs"], infos["_final_obs"])}
        return observations, rewards, terminations, truncations, infos

    def _transformed(self, final: Any, ended: NDArray[np.bool_]) -> NDArray[Any]:
        """The final observations `[N]` of the environments that have ended, None elsewhere."""
        some = np.flatnonzero(ended)[0]
        rows = [final[index if ended[index] else some] for index in range(self.num_envs)]
        empty = create_empty_array(self._inner_space, self.num_envs)
        batch = concatenate(self._inner_space, rows, cast(Any, empty))
        with _learning_nothing(self.env):
            transformed = iterate(self.observation_space, self.env.observations(batch))  # type: ignore[attr-defined]
        result = np.full(self.num_envs, None, dtype=object)
        for index, row in enumerate(transformed):
            if ended[index]:
                result[index] = row
        return result


class _NextStepFace(VectorWrapper[Any, Any, Any, Any, Any]):
    """Lets an observation wrapper be built that asks for `NEXT_STEP`; `SameStepObservation` does what it cannot."""

    is_adapter = True

    def __init__(self, env: AnyVectorEnv) -> None:
        super().__init__(env)
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}


@contextmanager
def _learning_nothing(wrapper: Any) -> Any:
    learns = getattr(wrapper, "update_running_mean", None)
    if learns is None:
        yield
        return
    wrapper.update_running_mean = False
    try:
        yield
    finally:
        wrapper.update_running_mean = learns


def _find(where: str, choice: Any) -> Wrapping:
    given = {"name": choice} if isinstance(choice, str) else choice
    if not (isinstance(given, Mapping) and isinstance(given.get("name"), str)):
        raise SpecError(
            [f"{where}: must be a name, 'module:Class', or a mapping with name and arguments (got {choice!r})"]
        )
    name, arguments = given["name"], {str(key): value for key, value in given.items() if key != "name"}
    wrapper = _own(where, name) if ":" in name else _gymnasiums(where, name)
    return Wrapping(where, wrapper, check_parameters(wrapper, _LEADING, arguments, where, typed=False))


def _own(where: str, path: str) -> type[Any]:
    try:
        wrapper = import_object(path)
    except SpecError as error:
        raise SpecError([f"{where}: {line}" for line in error.problems]) from None
    if not (isinstance(wrapper, type) and issubclass(wrapper, (VectorWrapper, gymnasium.Wrapper))):
        raise SpecError(
            [f"{where}: {path!r} is neither a gymnasium.vector.VectorWrapper nor a gymnasium.Wrapper (got {wrapper!r})"]
        )
    return wrapper


def _gymnasiums(where: str, name: str) -> type[Any]:
    names = {*gymnasium.wrappers.vector.__all__, *gymnasium.wrappers.__all__} - {"vector"}
    if name in names:
        module = gymnasium.wrappers.vector if name in gymnasium.wrappers.vector.__all__ else gymnasium.wrappers
        try:
            found: type[Any] = getattr(module, name)
        except (ImportError, gymnasium.error.Error) as error:
            raise SpecError([f"{where}: {name} needs what is not installed ({error})"]) from None
        return found
    raise SpecError(
        [f"{where}: no wrapper {name!r} in {VECTOR} or {SINGLE}{suggest(name, sorted(names))}, or 'module:Class'"]
    )


def _wrap_single(wrapping: Wrapping, env: Any) -> Any:
    wrapped = _built(wrapping, env)
    if any(isinstance(value, RunningMeanStd) for value in vars(wrapped).values()):
        name = wrapping.wrapper.__name__
        hint = f"use {VECTOR}:{name}" if hasattr(gymnasium.wrappers.vector, name) else "wrap the batch"
        raise UserCodeError(
            [
                f"{wrapping.where}: {name} of {SINGLE} keeps running statistics of each environment apart, which no "
                f"checkpoint can carry; {hint}"
            ]
        )
    return wrapped if wrapping.part is None else GuardedSingle(wrapped, wrapping.part)


def _wrap_batch(wrapping: Wrapping, env: AnyVectorEnv) -> AnyVectorEnv:
    same_step = env.metadata.get("autoreset_mode") is AutoresetMode.SAME_STEP
    adapted = same_step and issubclass(wrapping.wrapper, VectorObservationWrapper)
    wrapped = SameStepObservation(env, partial(_built, wrapping)) if adapted else _built(wrapping, env)
    return cast(AnyVectorEnv, wrapped if wrapping.part is None else GuardedBatch(wrapped, wrapping.part))


def _built(wrapping: Wrapping, env: Any) -> Any:
    if wrapping.part is not None:
        with Guard(wrapping.part):
            return wrapping.wrapper(env, **wrapping.arguments)
    try:
        return wrapping.wrapper(env, **wrapping.arguments)
    except (TypeError, ValueError, AssertionError, AttributeError, gymnasium.error.Error) as error:
        name = wrapping.wrapper.__name__
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserCodeError([f"{wrapping.where}: {name} cannot wrap this environment ({first})"]) from None
