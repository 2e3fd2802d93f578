"""What Gymnasium wrappers around a vector environment remember: for snapshots of a run, and for its checkpoints.

Two kinds of memory. *Statistics* are running means and variances that a wrapper has learnt
(`gymnasium.wrappers.utils.RunningMeanStd`). A policy needs them, so a checkpoint holds them. *State* is all that a
wrapper needs to go on in the middle of an episode; a snapshot holds the state. A wrapper offers its state by
`get_state()` (plain data and arrays) and `set_state(state)`; this module knows the state of Gymnasium's own wrappers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import gymnasium.wrappers.vector as gymnasium_vector
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers.utils import RunningMeanStd
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError

Arrays = dict[str, NDArray[Any]]
Tree = dict[str, Any]
Wrapper = TypeVar("Wrapper", bound=VectorWrapper[Any, Any, Any, Any, Any])
_MOMENTS = ("mean", "var", "count")

KNOWN_STATE: dict[type[Any], tuple[str, ...]] = {
    gymnasium_vector.TransformObservation: (),
    gymnasium_vector.VectorizeTransformObservation: (),
    gymnasium_vector.TransformAction: (),
    gymnasium_vector.VectorizeTransformAction: (),
    gymnasium_vector.TransformReward: (),
    gymnasium_vector.VectorizeTransformReward: (),
    gymnasium_vector.DictInfoToList: (),
    gymnasium_vector.NormalizeObservation: (),
    gymnasium_vector.NormalizeReward: ("accumulated_reward", "_prev_dones"),
    gymnasium_vector.RecordEpisodeStatistics: ("episode_returns", "episode_lengths", "prev_dones"),
}
"""Attributes, `[N]` each, that Gymnasium's wrappers need beside their statistics; subclasses add none."""


def wrapper_of(env: VectorEnv[Any, Any, Any], kind: type[Wrapper]) -> Wrapper | None:
    """The wrapper of a kind around an environment, the outermost one; None for none."""
    return next((wrapper for wrapper in reversed(list(_wrappers(env))) if isinstance(wrapper, kind)), None)


def tells_state(wrapper_class: type[Any]) -> bool:
    """Whether a vector wrapper can go on exactly after an interruption."""
    own = all(callable(getattr(wrapper_class, name, None)) for name in ("get_state", "set_state"))
    return own or issubclass(wrapper_class, tuple(KNOWN_STATE))


def can_tell(env: VectorEnv[Any, Any, Any]) -> bool:
    """Whether all wrappers of an environment tell their state."""
    return all(tells_state(type(wrapper)) for wrapper in _wrappers(env))


def wrapper_states(env: VectorEnv[Any, Any, Any]) -> list[Tree | None]:
    """The state of every wrapper, the innermost first; None for one that does not tell it."""
    return [_state_of(wrapper) if tells_state(type(wrapper)) else None for wrapper in _wrappers(env)]


def restore_wrapper_states(env: VectorEnv[Any, Any, Any], states: list[Tree | None]) -> None:
    """Bring the wrappers of an equal environment to what `wrapper_states` gave."""
    for wrapper, state in zip(_wrappers(env), states, strict=True):
        if state is not None:
            _restore(wrapper, state)


def statistics_of(env: VectorEnv[Any, Any, Any]) -> Arrays:
    """What the wrappers have learnt: floats `<class>.<number in that class>.<attribute>.mean`, `.var` and `.count`."""
    return {
        f"{key}.{moment}": _floats(getattr(statistics, moment))
        for key, statistics in _named_statistics(env)
        for moment in _MOMENTS
    }


def use_statistics(env: VectorEnv[Any, Any, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give the wrappers of an environment what others have learnt; from then on they learn no more.

    Args:
        env: for evaluation.
        arrays: from `statistics_of`; others than this environment needs are ignored.

    Raises:
        SpecError: a wrapper needs statistics that are not there, or are of other observations.
    """
    for key, statistics in _named_statistics(env):
        moments = {moment: arrays.get(f"{key}.{moment}") for moment in _MOMENTS}
        if not all(
            given is not None
            and given.shape == np.shape(getattr(statistics, moment))
            and np.isfinite(given).all()
            and (moment == "mean" or (given >= 0).all())
            for moment, given in moments.items()
        ):
            name = key.partition(".")[0]
            hint = "evaluate it under the wrappers that it was trained with"
            raise SpecError([f"checkpoint: holds no statistics for the wrapper {name} (env.wrappers); {hint}"])
        _set_moments(statistics, moments)
    for wrapper in _wrappers(env):
        if hasattr(wrapper, "update_running_mean"):
            wrapper.update_running_mean = False


def _wrappers(env: VectorEnv[Any, Any, Any]) -> list[Any]:
    """The wrappers of an environment, the innermost first, without the adapters that hold one in place."""
    found = []
    while isinstance(env, VectorWrapper):
        if not getattr(env, "is_adapter", False):
            found.append(env)
        env = env.env
    return found[::-1]


def _named_statistics(env: VectorEnv[Any, Any, Any]) -> Iterator[tuple[str, RunningMeanStd]]:
    seen: Counter[str] = Counter()
    for wrapper in _wrappers(env):
        name = type(wrapper).__name__
        for attribute, value in sorted(vars(wrapper).items()):
            if isinstance(value, RunningMeanStd):
                yield f"{name}.{seen[name]}.{attribute}", value
        seen[name] += 1


def _statistics_in(wrapper: Any) -> dict[str, RunningMeanStd]:
    return {name: value for name, value in vars(wrapper).items() if isinstance(value, RunningMeanStd)}


def _state_of(wrapper: Any) -> Tree:
    if hasattr(wrapper, "get_state"):
        return {"own": wrapper.get_state()}
    statistics = {
        name: {moment: np.array(getattr(value, moment)) for moment in _MOMENTS}
        for name, value in _statistics_in(wrapper).items()
    }
    return {"statistics": statistics, "lanes": {name: np.array(getattr(wrapper, name)) for name in _lanes(wrapper)}}


def _restore(wrapper: Any, state: Mapping[str, Any]) -> None:
    if hasattr(wrapper, "set_state"):
        wrapper.set_state(state["own"])
        return
    for name, moments in state["statistics"].items():
        _set_moments(getattr(wrapper, name), moments)
    for name, value in state["lanes"].items():
        setattr(wrapper, name, value.copy())


def _floats(value: Any) -> NDArray[Any]:
    """Numbers in the smallest type of checkpoints that holds them; before the first step they may be whole."""
    return np.array(value, np.result_type(np.asarray(value).dtype, np.float32))


def _set_moments(statistics: Any, moments: Mapping[str, Any]) -> None:
    # The count must be a plain number: a NumPy one would make float32 moments float64.
    statistics.count = float(moments["count"])
    statistics.mean, statistics.var = moments["mean"].copy(), moments["var"].copy()


def _lanes(wrapper: Any) -> tuple[str, ...]:
    return next(lanes for known, lanes in KNOWN_STATE.items() if isinstance(wrapper, known))
