"""Environments whose observations tell the limits of the episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from tokenfleet.policies.learned.limit_inputs import LimitInputs, seen, seen_space
from tokenfleet.policies.learned.limited_env import LimitedEnv, limited_env


class ObservedLimits(VectorWrapper[Any, Any, Any, Any, Any]):
    """An environment whose observations end with the limits of the episode.

    Args:
        env: with `limited` among its wrappers, in autoreset mode `SAME_STEP`.
        limited: whose limits are told.

    Raises:
        SpecError: limits cannot be appended to such observations.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], limited: LimitedEnv) -> None:
        super().__init__(env)
        self.inputs, self._limited = limited.inputs, limited
        self.single_observation_space = seen_space(env.single_observation_space, limited.inputs)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `VectorEnv.reset`."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return seen(observations, self._limited.places), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `VectorEnv.step`; the last observation of an episode tells the limits of that episode."""
        before = self._limited.places
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if "final_obs" in infos:
            final = np.full(self.num_envs, None, dtype=object)
            for index in np.flatnonzero(terminations | truncations).tolist():
                final[index] = seen(np.asarray(infos["final_obs"][index])[None], before[index])[0]
            infos = {**infos, "final_obs": final}
        return seen(observations, self._limited.places), rewards, terminations, truncations, infos

    def get_state(self) -> dict[str, Any]:
        """Nothing: `LimitedEnv` remembers the limits."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def with_observed_limits(env: VectorEnv[Any, Any, Any]) -> VectorEnv[Any, Any, Any]:
    """The environment, with its limits observed if its episodes draw any.

    Raises:
        SpecError: limits cannot be appended to its observations.
    """
    limited = limited_env(env)
    return env if limited is None or not limited.inputs else ObservedLimits(env, limited)


def parted_limits(env: VectorEnv[Any, Any, Any]) -> tuple[VectorEnv[Any, Any, Any], LimitInputs]:
    """The inverse of `with_observed_limits`: the environment without observed limits, and these limits."""
    return (env.env, env.inputs) if isinstance(env, ObservedLimits) else (env, ())
