"""The whole state of a training run as plain data and arrays; a run resumes from it to the bit.

A snapshot is taken between two updates, when an on-policy algorithm's rollout buffer is empty and need not be kept. An
environment with `get_state` and `set_state`, such as a fleet, goes on where it was. Any other environment is started
anew after a snapshot, from seeds that depend only on the run's seed and the snapshot's number. The uninterrupted run
starts the environment anew as well: so there is nothing to store, and both runs are the same.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.wrapper_state import can_tell, restore_wrapper_states, wrapper_states

Tree = dict[str, Any]
_CLOCK = "start_time"


def can_restore(env: VecEnv) -> bool:
    """Whether the environment can go on in the middle of its episodes: it and all of its wrappers tell their state."""
    wrapped = _adapter(env).env
    bare = wrapped.unwrapped
    tells = callable(getattr(bare, "get_state", None)) and callable(getattr(bare, "set_state", None))
    return tells and can_tell(wrapped)


def _restart(model: BaseAlgorithm, seed: int, snapshot: int) -> None:
    """Start every environment anew from seeds that follow from the run's seed and the snapshot's number."""
    env = _env(model)
    _adapter(env).seed(int(np.random.SeedSequence([seed, snapshot]).generate_state(1)[0]))
    model._last_obs = cast(Any, env.reset())
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
    if model.get_vec_normalize_env() is not None:
        model._last_original_obs = model.get_vec_normalize_env().get_original_obs()  # type: ignore[union-attr]


def capture(model: BaseAlgorithm, seed: int, snapshot: int) -> Tree:
    """Everything that decides how the run goes on.

    Args:
        model: between two updates; its environments are started anew if they cannot be restored.
        seed: of the run.
        snapshot: this one's number.
    """
    env = _env(model)
    restorable = can_restore(env)
    if not restorable:
        _restart(model, seed, snapshot)
    return {
        "attributes": _attributes(model),
        "parameters": {name: _to_arrays(state) for name, state in model.get_parameters().items()},
        "variables": {name: _to_arrays(attrgetter(name)(model).detach()) for name in _variables(model)},
        "episodes": _episodes(model),
        "last": _last(model),
        "random": _random_state(model),
        "normalisation": _normalisation(model.get_vec_normalize_env()),
        "buffer": _buffer(_kept_buffer(model)),
        "progress": _adapter(env).get_progress(),
        "environment": cast(Any, _adapter(env).env.unwrapped).get_state() if restorable else None,
        "wrappers": wrapper_states(_adapter(env).env),
        "restarted": [seed, snapshot],
    }


def restore(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Bring a fresh model, built from the same configuration, to a captured state."""
    env = _env(model)
    # First, for starting an environment anew draws numbers and updates running statistics.
    if state["environment"] is not None:
        cast(Any, _adapter(env).env.unwrapped).set_state(state["environment"])
    else:
        _restart(model, *state["restarted"])
    restore_wrapper_states(_adapter(env).env, state["wrappers"])
    for name, value in state["attributes"].items():
        setattr(model, name, value.item() if isinstance(value, np.ndarray) and not value.ndim else value)
    model.set_parameters({name: _to_tensors(tree) for name, tree in state["parameters"].items()}, exact_match=True)
    for name, value in state["variables"].items():
        attrgetter(name)(model).data = torch.as_tensor(np.array(value), device=model.device)
    _restore_episodes(model, state["episodes"])
    _restore_normalisation(model.get_vec_normalize_env(), state["normalisation"])
    if state["buffer"] is not None:
        _restore_buffer(_kept_buffer(model), state["buffer"])
    _adapter(env).set_progress(state["progress"])
    _restore_last(model, state["last"])
    _restore_random_state(model, state["random"])


def _env(model: BaseAlgorithm) -> VecEnv:
    assert model.env is not None
    return model.env


def _adapter(env: VecEnv) -> Sb3VecEnv:
    return cast(Sb3VecEnv, env.unwrapped)


def _attributes(model: BaseAlgorithm) -> Tree:
    """Every attribute of the model that is a number or an array; those of a user's subclass are kept as well.

    What the last step left (`_last_obs` and the like) is kept apart.
    """
    found: Tree = {}
    for name, value in vars(model).items():
        if type(value) in (bool, int) and name != _CLOCK:
            found[name] = value
        elif type(value) is float and name != _CLOCK:
            found[name] = np.array(value)  # JSON has no infinity
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and not name.startswith("_last_"):
            found[name] = value.copy()
    return found


def _variables(model: BaseAlgorithm) -> list[str]:
    return model._get_torch_save_params()[1]


def _to_arrays(tree: Any) -> Any:
    """State dictionaries with arrays for tensors; keys that are no text, as optimisers have them, become text."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().numpy().copy()
    if isinstance(tree, Mapping):
        return {str(key): _to_arrays(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_to_arrays(value) for value in tree]
    return tree


def _to_tensors(tree: Any) -> Any:
    """The inverse of `_to_arrays`."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    if isinstance(tree, Mapping):
        return {int(key) if key.isdigit() else key: _to_tensors(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_to_tensors(value) for value in tree]
    return tree


def _episodes(model: BaseAlgorithm) -> Tree:
    finished = model.ep_info_buffer or ()
    return {"returns": np.array([one["r"] for one in finished]), "lengths": [int(one["l"]) for one in finished]}


def _restore_episodes(model: BaseAlgorithm, episodes: Mapping[str, Any]) -> None:
    pairs = zip(episodes["returns"].tolist(), episodes["lengths"], strict=True)
    model.ep_info_buffer = deque(({"r": r, "l": length} for r, length in pairs), maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)


def _last(model: BaseAlgorithm) -> Tree:
    states = getattr(model, "_last_lstm_states", None)
    return {
        "observations": model._last_obs,
        "original_observations": model._last_original_obs,
        "episode_starts": model._last_episode_starts,
        "lstm": None if states is None else [[_to_arrays(part) for part in pair] for pair in states],
    }


def _restore_last(model: BaseAlgorithm, last: Mapping[str, Any]) -> None:
    model._last_obs = last["observations"]
    model._last_original_obs = last["original_observations"]
    model._last_episode_starts = last["episode_starts"]
    if last["lstm"] is not None:
        states: Any = model
        actor, critic = ([torch.from_numpy(part.copy()).to(model.device) for part in pair] for pair in last["lstm"])
        states._last_lstm_states = type(states._last_lstm_states)(tuple(actor), tuple(critic))


def _random_state(model: BaseAlgorithm) -> Tree:
    version, internal, gauss = random.getstate()
    _, key, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "numpy": {"key": key, "position": position, "has_gauss": has_gauss, "cached": np.array(cached)},
        "python": {"version": version, "internal": list(internal), "gauss": gauss},
        "actions": model.action_space.np_random.bit_generator.state,
    }


def _restore_random_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    torch.set_rng_state(torch.from_numpy(state["torch"].copy()))
    if state["cuda"]:
        torch.cuda.set_rng_state_all([torch.from_numpy(one.copy()) for one in state["cuda"]])
    legacy = state["numpy"]
    np.random.set_state(("MT19937", legacy["key"], legacy["position"], legacy["has_gauss"], float(legacy["cached"])))
    python = state["python"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss"]))
    model.action_space.np_random.bit_generator.state = state["actions"]


def _moments(statistics: RunningMeanStd | dict[str, RunningMeanStd]) -> Tree:
    if isinstance(statistics, dict):
        return {name: _moments(one) for name, one in statistics.items()}
    return {"mean": np.asarray(statistics.mean), "var": np.asarray(statistics.var), "count": np.array(statistics.count)}


def _restore_moments(statistics: RunningMeanStd | dict[str, RunningMeanStd], stored: Mapping[str, Any]) -> None:
    if isinstance(statistics, dict):
        for name, one in statistics.items():
            _restore_moments(one, stored[name])
        return
    # A mean that is a plain NumPy number must come back as one: a 0-d array takes other code paths.
    statistics.mean, statistics.var = (
        value.copy() if value.ndim else value[()] for value in (stored["mean"], stored["var"])
    )
    statistics.count = float(stored["count"])


def _normalisation(env: VecNormalize | None) -> Tree | None:
    if env is None:
        return None
    return {
        "observation": _moments(env.obs_rms) if env.norm_obs else None,
        "reward": _moments(env.ret_rms),
        "returns": env.returns,
        "old_observation": env.old_obs,
        "old_reward": env.old_reward,
    }


def _restore_normalisation(env: VecNormalize | None, stored: Mapping[str, Any] | None) -> None:
    if env is None or stored is None:
        return
    if stored["observation"] is not None:
        _restore_moments(env.obs_rms, stored["observation"])
    _restore_moments(env.ret_rms, stored["reward"])
    env.returns = stored["returns"].copy()
    env.old_obs = stored["old_observation"]
    env.old_reward = stored["old_reward"]


def _kept_buffer(model: BaseAlgorithm) -> BaseBuffer | None:
    """The buffer that an algorithm keeps from round to round; None where each round begins with an empty one."""
    return getattr(model, "replay_buffer", None)


def _buffer(buffer: BaseBuffer | None) -> Tree | None:
    """The filled part of a replay buffer; None for none."""
    if buffer is None:
        return None
    filled = buffer.size()
    parts = {name: part for name, part in vars(buffer).items() if _is_kept(part)}
    return {
        "position": buffer.pos,
        "full": buffer.full,
        "parts": {n: _first(part, filled) for n, part in parts.items()},
    }


def _is_kept(part: Any) -> bool:
    if isinstance(part, Mapping):
        return bool(part) and all(_is_kept(inner) for inner in part.values())
    return isinstance(part, np.ndarray) and part.dtype.kind in "biuf"


def _restore_buffer(buffer: BaseBuffer | None, stored: Mapping[str, Any]) -> None:
    assert buffer is not None
    for name, part in stored["parts"].items():
        _fill(getattr(buffer, name), part)
    buffer.pos, buffer.full = stored["position"], stored["full"]


def _first(part: Any, filled: int) -> Any:
    return {key: value[:filled] for key, value in part.items()} if isinstance(part, Mapping) else part[:filled]


def _fill(part: Any, stored: Any) -> None:
    if isinstance(part, Mapping):
        for key, value in part.items():
            _fill(value, stored[key])
    else:
        cast("NDArray[Any]", part)[: len(stored)] = stored
