"""Controls from the last actions of N fleets, tick by tick: the same ones for several ticks, or those of a loop."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.action import Supervises
from tokenfleet.envs.interface.arguments import checked_actions
from tokenfleet.envs.interface.parts import Parts
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import SpecError

BoolArray = NDArray[np.bool_]
Memory = tuple[NDArray[Any], ...]
"""Arrays whose first axis is the fleet; `()` for nothing."""


class Decisions:
    """The decisions of N fleets.

    An action becomes controls once, when it is taken; if the action part supervises, it does so at every tick anew.
    `Controls` that a policy gives directly hold for one tick.

    Args:
        parts: what translates actions.
        num_envs: N.
        decide_every: ticks for which an action holds.

    Attributes:
        memory: memory of a supervising action; `()` for other actions.
        ticks: number of ticks for which the last decisions hold.
    """

    def __init__(self, parts: Parts, num_envs: int, decide_every: int) -> None:
        self._parts, self._num_envs, self._decide_every = parts, num_envs, decide_every
        self._action = parts.action if isinstance(parts.action, Supervises) else None
        self._fresh: Memory = () if self._action is None else tuple(self._action.initial_memory(1))
        self.memory: Memory = () if self._action is None else self._action.initial_memory(num_envs)
        self._current: Any = None
        self.ticks = 0

    def begin(self, index: int) -> None:
        """Forget what fleet `index` was told: its episode starts."""
        self.resume(index, tuple(row[0] for row in self._fresh))

    def hold(self, index: int) -> Memory:
        """The memory of fleet `index`, for `resume`."""
        return tuple(rows[index].copy() for rows in self.memory)

    def check(self, held: Memory) -> None:
        """Refuse the memory of another kind of action.

        Raises:
            SpecError: one line.
        """
        if [np.shape(row) for row in held] != [rows.shape[1:] for rows in self.memory]:
            raise SpecError(["snapshot: is of another kind of action; restore it in an environment of the same action"])

    def resume(self, index: int, held: Memory) -> None:
        """Give fleet `index` the memory that `hold` gave of this fleet, or of another."""
        for rows, row in zip(self.memory, held, strict=True):
            rows[index] = row

    def take(self, actions: Any, idle: Sequence[int] = ()) -> int:
        """Take actions `[N, A]`, controls or set-points.

        Args:
            actions: of all fleets.
            idle: fleets whose episodes begin instead: they ignore their actions, and remember nothing of them.

        Returns:
            For how many ticks they hold (`ticks`).

        Raises:
            ValueError: the wrong shape or number, or NaN.
            SpecError: set-points of the wrong shape, or outside of their bounds.
        """
        ours = isinstance(actions, Controls) or (self._action is not None and isinstance(actions, self._action.record))
        if ours and actions.num_envs != self._num_envs:
            name = "controls" if isinstance(actions, Controls) else "set-points"
            raise ValueError(f"{name}: must be as many as fleets, {self._num_envs} (got {actions.num_envs})")
        if isinstance(actions, Controls):
            self._current, self.ticks = deepcopy(actions), 1  # nobody else will change them
            return self.ticks
        self.ticks = self._decide_every
        if self._action is None:
            self._current = self._parts.decode(checked_actions(actions, self._num_envs))
            return self.ticks
        if ours:
            self._action.check(actions)
        self._current = actions if ours else self._parts.decode(checked_actions(actions, self._num_envs))
        self.memory = self._action.decided(self._current, self.memory)
        for index in idle:
            self.begin(index)
        return self.ticks

    def controls(self, view: Record, moving: BoolArray | None) -> Controls:
        """Controls of the coming tick; the memory changes for the fleets in `moving`, `[N]`, or for all if None."""
        if isinstance(self._current, Controls):
            return self._current
        assert self._parts.track is not None
        controls, after = self._parts.track(self._current, view, self.memory)
        self.memory = after if moving is None else _kept(after, self.memory, moving)
        return controls


def _kept(after: Memory, before: Memory, moving: BoolArray) -> Memory:
    """The rows of `after` where fleets move, else those of `before`."""
    rows = [
        np.where(moving.reshape(-1, *(1,) * (new.ndim - 1)), new, old) for new, old in zip(after, before, strict=True)
    ]
    return type(after)(*rows) if hasattr(after, "_fields") else tuple(rows)
