"""A supervisor that follows the state: set-points decided anew every few ticks, held by the inner loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import Estimates
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import Count
from tokenfleet.envs.supervision.loop import LoopState
from tokenfleet.policies.base import PolicyContext, State
from tokenfleet.policies.heuristics.linear.features import Fields
from tokenfleet.policies.heuristics.supervisor import Supervisor

Float64Array = NDArray[np.float64]


class Reader(Protocol):
    """Reads features of N fleets.

    Attributes:
        fields: names of the view's fields that it reads.
        estimated: names of `envs.interface.supervisor_observation.ESTIMATED` that it reads.
    """

    fields: tuple[str, ...]
    estimated: tuple[str, ...]

    def nothing_past(self, num_envs: int) -> tuple[Float64Array, ...]:
        """What is remembered before the first reading, arrays `[N, ...]`."""

    def read(
        self, view: Fields, past: Sequence[Float64Array], elapsed_s: Float64Array
    ) -> tuple[Any, tuple[Float64Array, ...]]:
        """The features, and what is remembered from now on."""


class StateFeedback(Supervisor):
    """Acts wherever `supervisor` does, by features of the state.

    The policy decides by the clock of the episode, so its decisions do not depend on the environment's step, unless a
    step is longer than `decide_every`.

    Args:
        context: the environment.
        decide_every: ticks between two decisions.
        constants: parameters of `Supervisor`; a subclass decides on top of these set-points.

    Raises:
        SpecError: the observation lacks a field that is read; also as `Supervisor` does.
    """

    def __init__(
        self, context: PolicyContext, *, decide_every: Count = SetpointAction.decide_every, **constants: Any
    ) -> None:
        super().__init__(context, **constants)
        self._reader = self.make_reader()
        self.require(self._reader.fields)
        self._estimates = self._own_estimates()
        self._decide_every = decide_every

    @abstractmethod
    def make_reader(self) -> Reader:
        """The reader of the scenario's features."""

    @abstractmethod
    def entries_for(self, features: Any) -> NDArray[np.float32]:
        """Entries of the action `setpoints`, `[N, A]`, for features from the reader."""

    def _own_estimates(self) -> Estimates | None:
        """Estimates of the features that the observation lacks; None where it has them all."""
        if set(self._reader.estimated) <= self._observation.layout.shapes.keys():
            return None
        self.require(Estimates.reads)
        return Estimates(self.scenario)

    def initial_state(self, num_envs: int) -> State:
        """The tick of the last decision `[N]`, the entries `[N, A]`, the reader's past, and what `supervisor` keeps."""
        never, entries = np.full(num_envs, -np.inf), np.zeros((num_envs, *self._box.space.shape), np.float32)
        return (never, entries, *self._reader.nothing_past(num_envs), *super().initial_state(num_envs))

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        loop_begins = len(state) - len(LoopState._fields)
        entries, decided = self._decided(view, state[:loop_begins])
        controls, loop = self._box.loop.controls(self._box.decode(entries), view, LoopState(*state[loop_begins:]))
        return controls, (*decided, *loop)

    def decide(
        self,
        observation: NDArray[np.float32],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
    ) -> tuple[Any, State | None]:
        """Set-points for a batch `[N, D]` where the environment takes them, else controls."""
        if not self._answers_setpoints:
            return super().decide(observation, state, episode_start)
        entries, after = self._entries(observation, state, episode_start)
        return self._box.decode(entries), after

    def _entries(
        self, observation: NDArray[np.float32], state: State | None, episode_start: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], State]:
        view = self._observation.decode(observation)
        return self._decided(view, self._state(state, episode_start, len(view.rows)))

    def _decided(self, view: Record, state: State) -> tuple[NDArray[np.float32], State]:
        """The entries that hold now, `[N, A]`, decided anew where a decision is due, and the state."""
        decided_at, entries, *before = state
        tick = np.rint(view["time_fraction"].reshape(-1) * self.scenario.horizon_ticks)
        elapsed = tick - decided_at
        due = elapsed >= self._decide_every
        if not due.any():
            return entries, state
        seen = view if self._estimates is None else _Both(view, self._estimates.shown(view))
        features, past = self._reader.read(seen, before, elapsed * self.scenario.tick_s)
        row = due[:, None]
        entries = np.where(row, self.entries_for(features), entries)
        kept = [np.where(row, new, old) for new, old in zip(past, before, strict=True)]
        return entries, (np.where(due, tick, decided_at), entries, *kept)


class _Both:
    """The fields of two records as those of one."""

    def __init__(self, first: Record, second: Record) -> None:
        self._first, self._second = first, second

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        record = self._second if name in self._second.layout.shapes else self._first
        return record[name]
