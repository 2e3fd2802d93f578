"""Any Gymnasium vector environment as a stable-baselines3 `VecEnv`, at a cost of a few microseconds per step.

stable-baselines3 expects one info dictionary per environment and step; almost all of them are empty, so the same empty
ones are handed out until an episode ends. Only then are rows filled: `terminal_observation`, `TimeLimit.truncated`,
`episode` (return, length, time, as its `Monitor` gives them) and what the environment says about a finished episode.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from tokenfleet.envs.interface.infos import infos_of
from tokenfleet.envs.spec import SpecError

Info = dict[str, Any]


class Sb3VecEnv(VecEnv):
    """A vector environment in the form that stable-baselines3 expects.

    Args:
        env: in autoreset mode `SAME_STEP`: the observation after an episode's end is the next episode's first.
        group_size: number of consecutive environments that get the same seeds; they have the same episodes as long as
            none ends an episode before the others.

    Raises:
        SpecError: the environment is in another mode.

    Attributes:
        env: the vector environment.
        episodes_ended: how many episodes each environment has finished since the last reset, `[N]`.
        group_size: as given.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], group_size: int = 1) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            hint = 'make it with autoreset_mode="SAME_STEP"'
            raise SpecError(
                [f"env: {type(env).__name__} must be in autoreset mode SAME_STEP to be trained on (got {mode}); {hint}"]
            )
        self.env, self.group_size = env, group_size
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._quiet: list[Info] = [{} for _ in range(env.num_envs)]
        self._actions: NDArray[Any] = np.empty(0)
        self._begin()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds for the next reset, one per environment, or per group of them, all drawn from `seed`.

        Unlike with `seed + i`, runs with neighbouring seeds share no episode.
        """
        drawn = np.random.SeedSequence(seed).generate_state(-(-self.num_envs // self.group_size))
        self._seeds = [int(drawn[index // self.group_size]) for index in range(self.num_envs)]
        return self._seeds

    def reset(self) -> VecEnvObs:
        """Start every environment anew; seeds and options that were set count once."""
        # Every vector environment takes a list of seeds; Gymnasium's base class does not say so.
        seeds: Any = None if self._seeds[0] is None else self._seeds
        observations, infos = self.env.reset(seed=seeds, options=self._common_options())
        self.reset_infos = infos_of(_masked(infos), range(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        self._begin()
        return _copy(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember the actions."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step."""
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        self._returns += rewards
        self._lengths += 1
        rows = self._ended_rows(dones, truncations & ~terminations, infos) if dones.any() else self._quiet
        # Copies, because an environment may write its next observations and rewards into the same arrays.
        return _copy(observations), np.array(rewards, dtype=np.float32), dones, rows

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One picture per environment, None without a render mode."""
        frames = self.env.render()
        return [None] * self.num_envs if frames is None else cast("Sequence[NDArray[np.uint8] | None]", frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of each environment; one that belongs to the batch is the same for all."""
        parts = getattr(self.env.unwrapped, "envs", None)
        chosen = self._get_indices(indices)
        if parts is not None and all(part.has_wrapper_attr(attr_name) for part in parts):
            return [parts[index].get_wrapper_attr(attr_name) for index in chosen]
        return [self._of_batch(attr_name) for _ in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of every environment."""
        chosen = list(self._get_indices(indices))
        parts = getattr(self.env.unwrapped, "envs", None)
        if parts is not None:
            for index in chosen:
                setattr(parts[index].unwrapped, attr_name, value)
        elif len(chosen) == self.num_envs:
            setattr(self.env.unwrapped, attr_name, value)
        else:
            raise ValueError(f"{attr_name}: this environment is one batch; set the attribute for all of it")

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of each environment; one of the batch is called once, for all."""
        chosen = list(self._get_indices(indices))
        parts = getattr(self.env.unwrapped, "envs", None)
        if parts is not None:
            return [parts[index].get_wrapper_attr(method_name)(*args, **kwargs) for index in chosen]
        if len(chosen) == self.num_envs:
            return [self._of_batch(method_name)(*args, **kwargs)] * self.num_envs
        raise ValueError(f"{method_name}: this environment is one batch; call the method for all of it")

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Whether each environment is in a wrapper of this class."""
        parts = getattr(self.env.unwrapped, "envs", None)
        if parts is None:
            return [False for _ in self._get_indices(indices)]
        return [_wears(parts[index], wrapper_class) for index in self._get_indices(indices)]

    def moments(self) -> NDArray[np.int64]:
        """How many episodes each environment has ended, and how many steps it is in the present one, `[N, 2]`."""
        return np.stack([self.episodes_ended, self._lengths], axis=1)

    def get_progress(self) -> dict[str, NDArray[Any]]:
        """Returns and lengths of the episodes that are under way, for snapshots."""
        return {"returns": self._returns.copy(), "lengths": self._lengths.copy(), "ended": self.episodes_ended.copy()}

    def set_progress(self, progress: Mapping[str, Any]) -> None:
        """Restore what `get_progress` gave."""
        self._returns = np.array(progress["returns"], dtype=np.float64)
        self._lengths = np.array(progress["lengths"], dtype=np.int64)
        self.episodes_ended = np.array(progress["ended"], dtype=np.int64)

    def _of_batch(self, name: str) -> Any:
        """An attribute of the batch, or of the environment inside its wrappers if they do not pass it on."""
        return getattr(self.env if hasattr(self.env, name) else self.env.unwrapped, name)

    def _begin(self) -> None:
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.episodes_ended = np.zeros(self.num_envs, dtype=np.int64)
        self._started_s = time.monotonic()

    def _ended_rows(
        self, dones: NDArray[np.bool_], cut_short: NDArray[np.bool_], infos: Mapping[str, Any]
    ) -> list[Info]:
        rows = list(self._quiet)
        final_info = infos.get("final_info", {})
        elapsed_s = round(time.monotonic() - self._started_s, 6)
        ended = np.flatnonzero(dones).tolist()
        for index, final in zip(ended, infos_of(_masked(final_info), ended), strict=True):
            rows[index] = {
                **final,
                "terminal_observation": _row(infos["final_obs"], index),
                "TimeLimit.truncated": bool(cut_short[index]),
                "episode": {"r": float(self._returns[index]), "l": int(self._lengths[index]), "t": elapsed_s},
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        self.episodes_ended += dones
        return rows

    def _common_options(self) -> dict[str, Any] | None:
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError("options: a batch of environments takes the same options for all")
        return options or None


def _masked(infos: Mapping[str, Any]) -> Info:
    """Only the entries with a mask of their environments: batch-wide ones belong to no single environment."""
    return {
        name: _masked(value) if isinstance(value, Mapping) else value
        for name, value in infos.items()
        if name.startswith("_") or f"_{name}" in infos
    }


def _copy(observations: Any) -> VecEnvObs:
    if isinstance(observations, Mapping):
        return {name: np.array(value) for name, value in observations.items()}
    return np.array(observations)


def _row(final_observations: Any, index: int) -> Any:
    """One environment's last observation, from a batch, a dict of batches, or an array of single observations."""
    if isinstance(final_observations, Mapping):
        return {name: np.array(value[index]) for name, value in final_observations.items()}
    row = final_observations[index]
    return {name: np.array(value) for name, value in row.items()} if isinstance(row, Mapping) else np.array(row)


def _wears(env: Any, wrapper_class: type[Any]) -> bool:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, wrapper_class):
            return True
        env = env.env
    return False
