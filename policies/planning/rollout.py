"""A planner by forks: a rule, and now and then a better action near it, found with copies of the fleet.

Every few decisions the planner compares its rule with alternatives, in the same few drawn futures. An alternative
differs a little from the rule until the next comparison, and follows the rule from then on. The planner takes the
alternative with the highest mean value, if that beats the rule's by more than a given number of standard errors. A
fleet is chaotic, so the best of many continuations is partly luck. The worth of a planner is therefore its gain over
its placebo, whose alternatives are too small to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.fleets.simulator import FleetSimulator
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveInt, SpecError
from tokenfleet.policies.base import Policy, PolicyContext, State
from tokenfleet.policies.registry import Choice, build_policy

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_CANDIDATES, _FUTURES = 0, 1
"""Second number of the seeds of candidates and of futures."""


class RolloutPlanner:
    """A rule, changed where copies of the fleet do clearly better.

    Args:
        context: the environment.
        rule: the policy that is followed otherwise, and by the copies after the next comparison.
        look_ahead: ticks for which the copies run; slower effects, such as waking may have, are not seen.
        decide_every: decisions of the environment from one comparison to the next.
        candidates: number of alternatives, the rule itself included.
        futures: number of drawn futures, over which values are averaged.
        future: `drawn`, or `same` for a planner that knows the future; no real policy can reach its value.
        size: standard deviation of the alternatives around the rule, in entries of the action.
        clear: standard errors by which an alternative must beat the rule.

    Attributes:
        needs_simulator: True: the context must come with `simulator`.
        reads: fields that its rule reads.

    Raises:
        SpecError: there is no fleet to copy, or only one drawn future, which gives no standard error.
    """

    needs_simulator = True

    def __init__(
        self,
        context: PolicyContext,
        rule: Policy,
        look_ahead: PositiveInt = 240,
        decide_every: PositiveInt = 20,
        candidates: Annotated[int, Field(ge=2)] = 4,
        futures: PositiveInt = 4,
        future: Literal["drawn", "same"] = "drawn",
        size: PositiveFloat = 0.2,
        clear: NonNegativeFloat = 2.0,
    ) -> None:
        self.name = context.policy_name or type(self).__name__
        where, shape = f"policy.{self.name}", getattr(context.action_space, "shape", None)
        if context.simulator is None or not shape:
            raise SpecError([f"{where}: plans on copies of a fleet, and there is none at hand; choose another policy"])
        if future == "drawn" and futures < 2:
            raise SpecError([f"{where}.futures: must be at least 2 to judge a gain by (got {futures})"])
        self.reads: frozenset[str] = getattr(rule, "reads", frozenset())
        self._rule, self._simulator, self._shape = rule, context.simulator, shape
        self._look_ahead, self._decide_every, self._candidates = look_ahead, decide_every, candidates
        self._futures, self._future, self._size, self._clear = futures, future, size, clear
        self._seed = context.seed
        self._seeds: list[int] | None = None

    def meet(self, simulator: FleetSimulator) -> None:
        """Act in the simulator's environment from now on."""
        self._simulator = simulator

    def begin_episodes(self, seeds: Sequence[int]) -> None:
        """Draw the alternatives of row i from `seeds[i]` until the next call."""
        self._seeds = [int(seed) for seed in seeds]

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: BoolArray | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """See `Policy.predict`; the observations must be those of the environment as it is now.

        Raises:
            SpecError: there are more or fewer observations than fleets in the environment.
        """
        rows = np.atleast_2d(observation)
        if len(rows) != self._simulator.num_envs:
            fleets = f"all {self._simulator.num_envs} fleets of its environment together"
            raise SpecError([f"policy.{self.name}: plans for {fleets} (got {len(rows)} observations)"])
        fresh = np.ones(len(rows), np.bool_) if state is None else np.zeros(len(rows), np.bool_)
        begins = fresh if episode_start is None else fresh | np.atleast_1d(episode_start)
        age, shift, *rest = self._begin(len(rows)) if state is None else state
        age, shift = np.where(begins, 0, age), shift.copy()
        own = tuple(rest) or None
        asks = begins | (age % self._decide_every == 0)
        asks[list(self._simulator.ended)] = False
        for fleets, remembered in ((asks & begins, None), (asks & ~begins, own)):
            if fleets.any():
                shift[fleets] = self._choose(np.flatnonzero(fleets), age, remembered)
        action, after = self._rule.predict(rows, own, begins, deterministic)
        moved = np.clip(action + shift, -1.0, 1.0).astype(np.float32)
        moved = moved[0] if np.ndim(observation) == 1 else moved
        return moved, (age + 1, shift, *(after or ()))

    def _begin(self, count: int) -> State:
        return np.zeros(count, np.int64), np.zeros((count, *self._shape))

    def _choose(self, fleets: NDArray[np.intp], age: NDArray[np.int64], own: State | None) -> Float64Array:
        """The shift of each of `fleets`, `[n, A]`; `own` is the rule's state for all fleets, None where it begins."""
        shifts = np.stack([self._shifts(fleet, int(age[fleet])) for fleet in fleets.tolist()])
        futures: Any = "same"
        if self._future == "drawn":
            rng = np.random.default_rng([self._seed, _FUTURES])
            futures = rng.integers(2**31, size=self._futures).tolist()
        count = 1 if futures == "same" else len(futures)
        answer = self._simulator.simulate(
            Shifted(self._rule, shifts, count, self._decide_every),
            self._look_ahead,
            branches=self._candidates,
            futures=futures,
            fleets=fleets.tolist(),
            state=None if own is None else tuple(rows[fleets] for rows in own),
        )
        chosen: Float64Array = shifts[np.arange(len(fleets)), clearly_best(answer.value_usd, self._clear)]
        return chosen

    def _shifts(self, fleet: int, age: int) -> Float64Array:
        """Shifts of the rule (0) and its alternatives for a fleet, `[B, A]`, from its episode's seed and age alone."""
        episode = fleet if self._seeds is None else self._seeds[fleet]
        rng = np.random.default_rng([self._seed, _CANDIDATES, episode, age])
        shifts = self._size * rng.standard_normal((self._candidates, *self._shape))
        shifts[0] = 0.0
        return shifts


class Rollout(RolloutPlanner):
    """A `RolloutPlanner` around a rule by name.

    Args:
        context: the environment.
        rule: any policy that is no planner itself.
        planning: see `RolloutPlanner`.
    """

    def __init__(self, context: PolicyContext, rule: Choice = "feedback_capping", **planning: Any) -> None:
        super().__init__(context, build_policy(rule, replace(context, simulator=None)), **planning)


class Shifted:
    """A rule whose actions are shifted for the first decisions.

    Args:
        rule: the rule.
        shifts: what is added to its actions, `[N, B, A]`.
        futures: number of copies of every branch.
        decisions: number of decisions for which the shifts last.
    """

    def __init__(self, rule: Policy, shifts: Float64Array, futures: int, decisions: int) -> None:
        self._rule, self._left = rule, decisions
        self._shifts = np.repeat(shifts.reshape(-1, *shifts.shape[2:]), futures, axis=0)

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: BoolArray | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """See `Policy.predict`; for all copies, in the order of `simulate`."""
        action, state = self._rule.predict(observation, state, episode_start, deterministic)
        self._left -= 1
        return (action if self._left < 0 else np.clip(action + self._shifts, -1.0, 1.0).astype(np.float32)), state


def clearly_best(value: Float64Array, clear: float = 2.0) -> NDArray[np.intp]:
    """The candidate with the highest mean over futures, `[E]`; the first where no gain over it is clear.

    Args:
        value: of every candidate in every future, `[E, B, F]`.
        clear: standard errors that a gain must exceed; in a single future any gain counts.
    """
    gain = value - value[:, :1]
    futures = gain.shape[2]
    error = gain.std(axis=2, ddof=1) / np.sqrt(futures) if futures > 1 else np.zeros(gain.shape[:2])
    mean = gain.mean(axis=2)
    best: NDArray[np.intp] = np.where(mean > clear * error, mean, 0.0).argmax(axis=1)
    return best
