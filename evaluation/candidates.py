"""A policy under evaluation: its interface, its name, and its actions in a batch of episodes.

A network is called with `NETWORK_ROWS` rows or more: a matrix product of another height rounds its last bit
differently, so batches of up to that many episodes give the same. A policy that draws can offer
`begin_episodes(seeds)` to draw from each episode's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.fleets.plans import PolicyPredictor
from tokenfleet.envs.fleets.simulator import FleetSimulator
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.user_code import Guard, check_numbers, is_ours, named
from tokenfleet.envs.vector import FleetVectorEnv

MakeEnv = Callable[[int], VectorEnv[Any, Any, Any]]
"""Gives a vector environment of so many rows."""
NETWORK_ROWS = 64
"""Fewest rows of a call of a network."""


@runtime_checkable
class DrawsPerEpisode(Protocol):
    """A policy with chance in it that can tie its draws to the episodes it meets."""

    def begin_episodes(self, seeds: Sequence[int]) -> None:
        """Draw for row i from `seeds[i]` until the next call."""


@runtime_checkable
class PreparesEnvironment(Protocol):
    """A policy that needs something of its environments, such as the statistics of wrappers."""

    def prepare(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Called once for every vector environment, before its first reset."""


@runtime_checkable
class PlansOnCopies(Protocol):
    """A policy that runs copies of its fleets."""

    def meet(self, simulator: FleetSimulator) -> None:
        """Called once for every vector environment of fleets, before its first reset."""


@runtime_checkable
class DecidesControls(Protocol):
    """A policy of a fleet that answers in physical units."""

    def decide(self, observation: Any, state: Any = None, episode_start: Any = None) -> tuple[Controls, Any]:
        """Controls for a batch of observations, and the state for the next call."""


@dataclass(frozen=True)
class Candidate:
    """A policy and what to call it; see `EpisodeRow` for the names.

    Attributes:
        source: where it comes from, as plain data, for the record.
    """

    policy: PolicyPredictor
    label: str
    algorithm: str = ""
    training_seed: int | None = None
    learned: bool = False
    policy_hash: str = ""
    source: Any = None


def make_env_for(candidate: Candidate, make_env: MakeEnv, num_envs: int) -> VectorEnv[Any, Any, Any]:
    """An environment in which the candidate can act."""
    env = make_env(num_envs)
    if isinstance(candidate.policy, PreparesEnvironment):
        candidate.policy.prepare(env)
    if isinstance(candidate.policy, PlansOnCopies) and isinstance(env.unwrapped, FleetVectorEnv):
        candidate.policy.meet(FleetSimulator(env.unwrapped))
    return env


class ActingCandidate:
    """A candidate at work on one batch: its memory, its draws, and the number of rows its network sees.

    A policy with controls in physical units hands them to a fleet directly: an action rounds to float32, and the box of
    actions holds less than `Controls`.

    Args:
        candidate: the policy.
        env: that it acts in; the actions of a user's policy must have the shape of its space.
        seeds: of the episodes, one per row.
        deterministic: handed to `predict`.
    """

    def __init__(
        self, candidate: Candidate, env: VectorEnv[Any, Any, Any], seeds: Sequence[int], deterministic: bool
    ) -> None:
        self._policy = candidate.policy
        self._decides = isinstance(env, FleetVectorEnv) and isinstance(candidate.policy, DecidesControls)
        chosen = candidate.source if isinstance(candidate.source, (str, Mapping)) else candidate.policy
        self._guard = None if is_ours(candidate.policy) else Guard(named("policy", chosen))
        self._shape = env.action_space.shape
        self._count = len(seeds)
        self._rows = max(self._count, NETWORK_ROWS) if candidate.learned else self._count
        self._deterministic = deterministic
        self._state: Any = None
        if isinstance(candidate.policy, DrawsPerEpisode):
            candidate.policy.begin_episodes(seeds)

    def act(self, observation: Any, starts: NDArray[np.bool_]) -> Any:
        """Actions `[N, ...]`, or controls, for observations `[N, ...]`; `starts` says where an episode begins."""
        with self._guard or nullcontext():
            if self._decides:
                controls, self._state = self._policy.decide(observation, self._state, starts)  # type: ignore[attr-defined]
                return controls
            action, self._state = self._policy.predict(
                _padded(observation, self._rows),
                state=self._state,
                episode_start=_padded(starts, self._rows),
                deterministic=self._deterministic,
            )
        if self._guard is not None and self._shape is not None:
            check_numbers(self._guard, "actions [N, ...]", action, (self._rows, *self._shape[1:]))
        return action[: self._count] if self._rows > self._count else action


def _padded(values: Any, rows: int) -> Any:
    """Batched values with copies of the first row behind them, `[N, ...]` to `[rows, ...]`."""
    if isinstance(values, dict):
        return {name: _padded(value, rows) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_padded(value, rows) for value in values)
    missing = rows - len(values)
    return values if missing <= 0 else np.concatenate([values, np.repeat(values[:1], missing, axis=0)])
