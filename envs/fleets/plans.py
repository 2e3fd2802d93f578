"""What copies of fleets are told to do: candidates and policies, branch by branch, and in which futures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.parts import Parts
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.spec import SpecError, shown

BoolArray = NDArray[np.bool_]
Same = Literal["same"]
Decisions = NDArray[Any] | Controls
"""Actions `[B, A]` or `[N, B, A]`, or `Controls` of B or N * B rows; N * B where N divides them, unless B is given."""


class PolicyPredictor(Protocol):
    """Anything with `predict`, as stable-baselines3's type of the same name has it."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions `[M, A]` for observations `[M, D]`, and what is remembered."""


Plan = PolicyPredictor | Decisions | Sequence[Decisions]


def parse_futures(futures: Any) -> list[int | Same]:
    """The futures that `simulate` was asked for.

    >>> parse_futures("same"), parse_futures(7), parse_futures([7, "same"])
    (['same'], [7], [7, 'same'])

    Raises:
        SpecError: one of them is neither a seed nor `"same"`.
    """
    several = list(futures) if isinstance(futures, (list, tuple, range, np.ndarray)) else [futures]
    for future in several:
        is_seed = isinstance(future, (int, np.integer)) and not isinstance(future, bool) and future >= 0
        if not (is_seed or (isinstance(future, str) and future == "same")):
            raise SpecError([f"futures: must be 'same', a seed (0 or more), or a list of these (got {shown(future)})"])
    if not several:
        raise SpecError(["futures: must be at least one (got an empty list)"])
    return ["same" if isinstance(future, str) else int(future) for future in several]


def check_simulated(fleets: Sequence[int], ended: Sequence[int], horizon: Any, branches: Any) -> None:
    """Refuse fleets without a future, and horizons without a tick.

    Raises:
        SpecError: one line per mistake.
    """
    problems = []
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or horizon < 1:
        problems.append(f"horizon: must be a positive number of ticks (got {shown(horizon)})")
    if branches is not None and (not isinstance(branches, (int, np.integer)) or branches < 1):
        problems.append(f"branches: must be a positive number, or None (got {shown(branches)})")
    if not fleets:
        problems.append("fleets: must be at least one (got an empty list)")
    if over := [index for index in fleets if index in ended]:
        problems.append(f"fleets: the episodes of fleets {over} have ended; leave them out, or reset them")
    if problems:
        raise SpecError(problems)


class Planned:
    """The decisions of a plan, for copies that stand in the order fleet, branch, future.

    Args:
        plan: a policy; decisions that are held; or a list of decisions, of which the last is held.
        then: a policy that decides when the list has come to its end.
        parts: the action that decisions are of.
        copies: N, B and F; B is None where the plan says it.
        state: what the policy remembers, arrays of N rows; None to let it begin afresh.

    Attributes:
        branches: B.

    Raises:
        SpecError: the plan is of another shape.
    """

    def __init__(
        self, plan: Plan, then: PolicyPredictor | None, parts: Parts, copies: tuple[int, int | None, int], state: Any
    ) -> None:
        fleets, branches, futures = copies
        if then is not None and not hasattr(then, "predict"):
            raise SpecError([f"then: must be a policy, which has `predict` (got {shown(then)})"])
        self._parts, self._fleets, self._futures = parts, fleets, futures
        self._policy = plan if hasattr(plan, "predict") else then
        if hasattr(plan, "predict"):
            self._listed: list[NDArray[Any] | Controls] = []
            self.branches = branches or 1
        else:
            steps = list(plan) if isinstance(plan, (list, tuple)) else [plan]
            if not steps:
                raise SpecError(["plan: must decide for one tick at least (got an empty list)"])
            self.branches = self._branches_of(steps[0], branches)
            if branches not in (None, self.branches):
                raise SpecError([f"branches: must be as many as the plan has, {self.branches} (got {branches})"])
            self._listed = [self._spread(step) for step in steps]
        count = fleets * self.branches * futures
        self._state = None if state is None else tuple(self._repeated(rows, count) for rows in state)
        self._begins: BoolArray | None = None if state is not None else np.ones(count, np.bool_)
        self._step = 0

    def __call__(self, observe: Callable[[], NDArray[Any]]) -> Any:
        """The next decisions for all copies."""
        step = self._step
        self._step += 1
        if step < len(self._listed) or self._policy is None:
            return self._listed[min(step, len(self._listed) - 1)]
        observations = observe()
        begins = np.zeros(len(observations), np.bool_) if self._begins is None else self._begins
        self._begins = None
        policy: Any = self._policy
        if self._parts.track is not None and hasattr(policy, "decide"):
            # A rule of a fleet answers in physical units, and held actions cannot express such answers.
            decided, self._state = policy.decide(observations, self._state, begins)
            return decided
        actions, self._state = policy.predict(observations, self._state, begins, deterministic=True)
        return np.asarray(actions)

    def _branches_of(self, step: Any, asked: int | None) -> int:
        """How many branches a step decides for; `asked` settles whether rows of controls are of each fleet."""
        single = self._parts.action.space.shape or ()
        if isinstance(step, Controls):
            count = step.num_envs
            return count if count == asked or count % self._fleets else count // self._fleets
        shape = np.shape(step)
        if len(shape) - len(single) not in (1, 2) or shape[len(shape) - len(single) :] != single:
            raise SpecError(
                [
                    "plan: must be a policy, which has `predict`, Controls, or actions of shape "
                    f"[branches, {', '.join(map(str, single))}], with the fleets before the branches if each has its "
                    f"own (got {f'shape {list(shape)}' if shape else shown(step)})"
                ]
            )
        if len(shape) - len(single) == 2 and shape[0] != self._fleets:
            raise SpecError([f"plan: must have actions for each of {self._fleets} fleets (got {shape[0]})"])
        return int(shape[len(shape) - len(single) - 1])

    def _spread(self, step: Any) -> NDArray[Any] | Controls:
        """Actions or controls of every copy."""
        if (found := self._branches_of(step, self.branches)) != self.branches:
            raise SpecError([f"plan: every tick must decide for {self.branches} branches (got {found})"])
        if not isinstance(step, Controls):
            single = self._parts.action.space.shape or ()
            rows = np.broadcast_to(step, (self._fleets, self.branches, *single)).reshape(-1, *single)
            return np.repeat(rows, self._futures, axis=0)
        if step.num_envs == self.branches:
            step = Controls.stack([step] * self._fleets)
        return Controls(**{name: np.repeat(values, self._futures, axis=0) for name, values in step.given().items()})

    def _repeated(self, rows: NDArray[Any], copies: int) -> NDArray[Any]:
        if len(rows) != self._fleets:
            raise SpecError([f"state: must have a row for each of {self._fleets} fleets (got {len(rows)})"])
        return np.repeat(rows, copies // self._fleets, axis=0)
