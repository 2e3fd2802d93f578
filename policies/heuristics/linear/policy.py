"""A supervisor who follows the state: set-points that move with a few features, held by the inner loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fields import Record
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import Estimates
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import Count
from tokenfleet.envs.supervision.loop import LoopState
from tokenfleet.policies.base import PolicyContext, State
from tokenfleet.policies.heuristics.linear.features import Features, Past, Scale
from tokenfleet.policies.heuristics.linear.law import entries_of, scaled
from tokenfleet.policies.heuristics.linear.numbers import Entries, Gains, Numbers, Scales
from tokenfleet.policies.heuristics.supervisor import Supervisor, supervisor_parameters

Float64Array = NDArray[np.float64]
EXACT = 17
"""Digits by which a float64 is known."""


class LinearFeedback(Supervisor):
    """Set-points that are linear in a few features: what is tuned as feedback by a screen of scenarios.

    A set-point is `base + gains * features` as an entry of the action `setpoints`, cut to [-1, 1]. Features are counted
    in standard deviations from their mean, cut at 4 (`features.NAMES`). Some are means over the past minute. It acts
    wherever `supervisor` does. It decides by the clock of the episode, so that it decides alike whatever a step of the
    environment is, unless a step is longer than `decide_every`.

    Args:
        context: the environment.
        gains: by set-point, entry and feature: what the entry gains with one standard deviation.
        scale: mean and standard deviation by feature and row, which is a site or a class; of those that gains follow.
        entries: by set-point and entry: where the entry stands while its features stand at their mean. It goes over the
            constant, which cannot tell apart entries that mean the same, such as those that keep usual replicas awake.
        decide_every: ticks between two decisions.
        constants: all other set-points, as of `supervisor`.

    Raises:
        SpecError: a name that the scenario does not have, a number outside of its bounds, or a feature without a scale.
    """

    def __init__(
        self,
        context: PolicyContext,
        *,
        gains: Gains | None = None,
        scale: Scales | None = None,
        entries: Entries | None = None,
        decide_every: Count = SetpointAction.decide_every,
        **constants: Any,
    ) -> None:
        super().__init__(context, **constants)
        self.require(Features.fields)
        self._features, self._estimates = Features(self.scenario), self._own_estimates()
        self._decide_every = decide_every
        self._numbers = Numbers(self.scenario, tuple(self._box.table), f"policy.{self.name}")
        held = self._box.encode(self.setpoints)[0].astype(np.float64)
        self._base, self._gains, self._scale = self._numbers.read(held, gains or {}, entries or {}, scale or {})

    def _own_estimates(self) -> Estimates | None:
        """What works out the features that the observation lacks; None where it has them."""
        if set(Features.estimated) <= self._observation.layout.shapes.keys():
            return None
        self.require(Estimates.reads)
        return Estimates(self.scenario)

    def tuned_from(self) -> Float64Array:
        """Where a tuner begins: base entries, and behind them the gains that are not zero."""
        return np.concatenate([self._base, self._gains[self._gains != 0.0]])

    def tuned_to(self, numbers: Float64Array) -> dict[str, Any]:
        """The parameters that such numbers stand for."""
        gains = self._gains.copy()
        gains[gains != 0.0] = numbers[len(self._base) :]
        return feedback_parameters(self.scenario, self._numbers, numbers[: len(self._base)], gains, self._scale)

    def initial_state(self, num_envs: int) -> State:
        """The tick of the last decision `[N]`, the entries `[N, A]`, `Past`, and what `supervisor` remembers."""
        never, entries = np.full(num_envs, -np.inf), np.zeros((num_envs, len(self._base)), np.float32)
        return (never, entries, *self._features.nothing_past(num_envs), *super().initial_state(num_envs))

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        entries, decided = self._decided(view, state[:4])
        controls, loop = self._box.loop.controls(self._box.decode(entries), view, LoopState(*state[4:]))
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

    def predict(
        self,
        observation: NDArray[np.float32],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """See `Policy.predict`."""
        if not self._answers_setpoints:
            return super().predict(observation, state, episode_start, deterministic)
        entries, after = self._entries(np.atleast_2d(observation), state, episode_start)
        return (entries[0] if np.ndim(observation) == 1 else entries), after

    def _entries(
        self, observation: NDArray[np.float32], state: State | None, episode_start: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], State]:
        view = self._observation.decode(observation)
        return self._decided(view, self._state(state, episode_start, len(view.rows)))

    def _decided(self, view: Record, state: State) -> tuple[NDArray[np.float32], State]:
        """The entries that hold now, `[N, A]`, decided anew where it is time."""
        decided_at, entries, *before = state
        tick = np.rint(view["time_fraction"].reshape(-1) * self.scenario.horizon_ticks)
        elapsed = tick - decided_at
        due = elapsed >= self._decide_every
        if not due.any():
            return entries, state
        seen = view if self._estimates is None else _Both(view, self._estimates.shown(view))
        values, past = self._features.read(seen, Past(*before), elapsed * self.scenario.tick_s)
        fresh = entries_of(self._base, self._gains, scaled(values, self._scale)[:, self._numbers.follows])
        row = due[:, None]
        entries = np.where(row, fresh, entries)
        kept = [np.where(row, new, old) for new, old in zip(past, before, strict=True)]
        return entries, (np.where(due, tick, decided_at), entries, *kept)


class _Both:
    """The fields of two records as those of one."""

    def __init__(self, first: Record, second: Record) -> None:
        self._first, self._second = first, second

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        record = self._second if name in self._second.layout.shapes else self._first
        return record[name]


def feedback_parameters(
    scenario: Scenario, numbers: Numbers, base: Float64Array, gains: Float64Array, scale: Scale
) -> dict[str, Any]:
    """Linear feedback as parameters of `LinearFeedback`, which acts by them as by the arrays, to the bit.

    Args:
        scenario: of the fleets.
        numbers: of the scenario.
        base: entries of the action, `[A]`.
        gains: `[A, F]`.
        scale: of the features.
    """
    moves = numbers.written(base, gains, scale)
    held = supervisor_parameters(scenario, np.clip(base, -1.0, 1.0).astype(np.float32), EXACT)
    constants = {
        name: {entry: value for entry, value in by_entry.items() if entry not in moves["entries"].get(name, {})}
        for name, by_entry in held.items()
    }
    return {**{name: by_entry for name, by_entry in constants.items() if by_entry}, **moves}
