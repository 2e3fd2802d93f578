"""What would become of fleets under other decisions: copies of them live on beside them, in one future or in many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_metrics import EpisodeMetrics
from tokenfleet.envs.engine import Engine, RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.batch import tariff_of
from tokenfleet.envs.episode.future import Present, draw_future
from tokenfleet.envs.fields import Record
from tokenfleet.envs.interface.parts import Parts
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.snapshots import FleetSnapshot
from tokenfleet.envs.spec import SpecError, shown

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Same = Literal["same"]
Decisions = NDArray[Any] | Controls
"""Actions `[B, A]` or `[N, B, A]`, or the `Controls` of B or N * B fleets."""


class Acts(Protocol):
    """A policy: the signature is that of stable-baselines3's `predict`."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions `[M, A]` for observations `[M, D]`, and what is remembered."""


Plan = Acts | Decisions | Sequence[Decisions]


@dataclass(frozen=True)
class Simulation:
    """What N fleets would come to in B branches and F futures each; all arrays are `[N, B, F]`.

    Attributes:
        reward: sum of the rewards.
        value_usd: net value [USD], whatever the reward is.
        metrics: every metric of an episode by name, of the simulated ticks alone.
        ticks: how many were simulated: fewer than asked for where an episode ends.
        ended: whether the episode ended.
        observations: the last ones, `[N, B, F, D]`.
        views: the last views, a row for each copy, the futures running fastest; see `view`.
    """

    reward: Float64Array
    value_usd: Float64Array
    metrics: dict[str, Float64Array]
    ticks: IntArray
    ended: BoolArray
    observations: NDArray[Any]
    views: Record

    def view(self, fleet: int = 0, branch: int = 0, future: int = 0) -> Record:
        """What one copy saw last, by names; see `tokenfleet.envs.fields.VIEW`."""
        place = np.ravel_multi_index((fleet, branch, future), self.reward.shape)
        return Record(self.views.layout, self.views.rows[place : place + 1])

    def best(self) -> NDArray[np.intp]:
        """The branch with the highest mean reward over the futures, of every fleet, `[N]`."""
        best: NDArray[np.intp] = self.reward.mean(axis=2).argmax(axis=1)
        return best


@dataclass(frozen=True)
class World:
    """What a simulation needs of an environment.

    Attributes:
        scenario, arrays: the fleet.
        parts: observation, action and reward.
        reward: from the terms of a tick, `[M]`.
        last_tick: at which episodes end.
        make_engine: an engine for M fleets.
    """

    scenario: Scenario
    arrays: FleetArrays
    parts: Parts
    reward: Callable[[dict[str, Float64Array]], Float64Array]
    last_tick: int
    make_engine: Callable[[int], Engine]


class Simulator:
    """M copies of fleets that live on beside them.

    Args:
        world: the environment.
        copies: M.

    Attributes:
        copies: M.
    """

    def __init__(self, world: World, copies: int) -> None:
        self.copies = copies
        self._world = world
        self._engine = world.make_engine(copies)
        self._metrics = EpisodeMetrics(world.scenario, world.arrays, copies)

    def run(
        self,
        fleets: Sequence[FleetSnapshot],
        branches: int,
        futures: Sequence[int | Same],
        horizon: int,
        decide: Decide,
    ) -> Simulation:
        """Let every fleet live in `branches` times `futures` copies.

        Args:
            fleets: N of them, as they are now.
            branches: B.
            futures: F of them, `"same"` or a seed each.
            horizon: ticks at most.
            decide: controls for all copies.
        """
        shape = len(fleets), branches, len(futures)
        starts = [self._starts(fleet, futures) for fleet in fleets]
        begin = [starts[n][f] for n, _, f in np.ndindex(shape)]
        tariff = np.stack([start.tariff for start in begin])
        first = np.array([start.tick for start in begin], np.int64)
        for copy, start in enumerate(begin):
            self._engine.restore(copy, start.state)
            self._metrics.begin(copy)
        last = np.minimum(first + horizon, self._world.last_tick)
        found = _Found(self._engine.view.copy(), self._observe().copy(), self.copies)
        living, tick, every = np.ones(self.copies, np.bool_), first.copy(), np.arange(self.copies)
        while living.any():
            self._engine.step(decide(self._observe))
            found.rewards += np.where(living, self._account(tariff[every, tick]), 0.0)
            tick += 1
            over = all_dark(self._engine.view) | (tick >= self._world.last_tick)
            done = np.flatnonzero(living & (over | (tick >= last)))
            if len(done):
                living[done] = False
                summary = self._metrics.summary(done, (tick - first)[done])
                found.write(done, self._engine.view, self._observe(), (tick - first)[done], over[done], summary)
            for copy in np.flatnonzero(tick >= self._world.arrays.horizon_ticks).tolist():
                # An engine steps all of its fleets; one that is at its end is put back and no longer looked at.
                self._engine.restore(copy, begin[copy].state)
                tick[copy] = first[copy]
        return found.simulation(shape)

    def _starts(self, fleet: FleetSnapshot, futures: Sequence[int | Same]) -> list[_Start]:
        """One fleet at the beginning of each future."""
        episode, tick = fleet.episode.current, fleet.episode.tick
        assert episode is not None
        starts = []
        for seed in futures:
            if seed == "same":
                starts.append(_Start(fleet.engine, fleet.episode.tariff, tick))
                continue
            self._engine.restore(0, fleet.engine)
            other = self._other_future(episode, tick, int(seed))
            starts.append(_Start(self._engine.snapshot(0), tariff_of(other), tick))
        return starts

    def _other_future(self, episode: Episode, tick: int, seed: int) -> Episode:
        """Draw one for the engine's first fleet, and let it go on in it."""
        log = self._engine.request_log(0)
        lost = (log.status != RequestStatus.PENDING) & (log.status != RequestStatus.COMPLETED)
        now = Present(tick, np.isfinite(log.asked_s), lost, log.finished_s, self._engine.thinking(0))
        future = draw_future(episode, now, seed)
        self._engine.change_future(0, future)
        return future.episode

    def _account(self, tariff: Float64Array) -> Float64Array:
        """Count a tick; its rewards, `[M]`."""
        sites = len(self._world.scenario.sites)
        rewards = self._world.reward(self._world.parts.value(self._engine.outcome, tariff[:, :sites]))
        self._metrics.add(self._engine.outcome, tariff, rewards)
        return rewards

    def _observe(self) -> NDArray[Any]:
        return self._world.parts.observe(self._engine.view)


Decide = Callable[[Callable[[], NDArray[Any]]], Controls]
"""Controls of M copies; called once a tick with what gives their observations `[M, D]`."""


@dataclass(frozen=True)
class _Start:
    """A fleet at the beginning of a future: its state, and the tariff of its episode, `[H, 2 S]`."""

    state: Any
    tariff: Float64Array
    tick: int


class _Found:
    """What M copies have come to, each up to its own end."""

    def __init__(self, view: Record, observations: NDArray[Any], copies: int) -> None:
        self.rewards = np.zeros(copies)
        self._view, self._observations = view, observations
        self._ticks, self._ended = np.zeros(copies, np.int64), np.zeros(copies, np.bool_)
        self._metrics: dict[str, Float64Array] = {}

    def write(
        self,
        done: NDArray[np.intp],
        view: Record,
        observations: NDArray[Any],
        ticks: IntArray,
        ended: BoolArray,
        metrics: Mapping[str, Float64Array],
    ) -> None:
        """Write down the copies that are done, `[n]` of M."""
        self._view.rows[done], self._observations[done] = view.rows[done], observations[done]
        self._ticks[done], self._ended[done] = ticks, ended
        for name, values in metrics.items():
            self._metrics.setdefault(name, np.full(len(self.rewards), np.nan))[done] = values

    def simulation(self, shape: tuple[int, int, int]) -> Simulation:
        """All of it, `[N, B, F]`."""
        metrics = {name: values.reshape(shape) for name, values in self._metrics.items()}
        return Simulation(
            reward=self.rewards.reshape(shape),
            value_usd=metrics["net_value_usd"],
            metrics=metrics,
            ticks=self._ticks.reshape(shape),
            ended=self._ended.reshape(shape),
            observations=self._observations.reshape(*shape, *self._observations.shape[1:]),
            views=self._view,
        )


def all_dark(view: Record) -> BoolArray:
    """Where every site is without power, `[N]`."""
    return cast(BoolArray, np.logical_and.reduce(view["dark_remaining_s"] > 0.0, axis=1))


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
        plan: a policy; decisions that are held; or a list of decisions, one a tick, of which the last is held.
        then: a policy that decides when the list has come to its end.
        parts: decode actions.
        copies: N, B and F; B is None where the plan says it.
        state: what the policy remembers, arrays of N rows; None to let it begin afresh.

    Attributes:
        branches: B.

    Raises:
        SpecError: the plan is of another shape.
    """

    def __init__(
        self, plan: Plan, then: Acts | None, parts: Parts, copies: tuple[int, int | None, int], state: Any
    ) -> None:
        fleets, branches, futures = copies
        self._parts, self._fleets, self._futures = parts, fleets, futures
        self._policy = plan if hasattr(plan, "predict") else then
        if hasattr(plan, "predict"):
            self._listed: list[Controls] = []
            self.branches = branches or 1
        else:
            steps = list(plan) if isinstance(plan, (list, tuple)) else [plan]
            if not steps:
                raise SpecError(["plan: must decide for one tick at least (got an empty list)"])
            self.branches = self._branches_of(steps[0])
            if branches not in (None, self.branches):
                raise SpecError([f"branches: must be as many as the plan has, {self.branches} (got {branches})"])
            self._listed = [self._spread(step) for step in steps]
        count = fleets * self.branches * futures
        self._state = None if state is None else tuple(self._repeated(rows, count) for rows in state)
        self._begins: BoolArray | None = None if state is not None else np.ones(count, np.bool_)
        self._tick = 0

    def __call__(self, observe: Callable[[], NDArray[Any]]) -> Controls:
        """Controls of all copies for the next tick."""
        tick = self._tick
        self._tick += 1
        if tick < len(self._listed) or self._policy is None:
            return self._listed[min(tick, len(self._listed) - 1)]
        observations = observe()
        begins = np.zeros(len(observations), np.bool_) if self._begins is None else self._begins
        self._begins = None
        policy = cast(Acts, self._policy)
        actions, self._state = policy.predict(observations, self._state, begins, deterministic=True)
        return self._parts.decode(np.asarray(actions))

    def _branches_of(self, step: Any) -> int:
        """How many branches a step decides for."""
        single = self._parts.action.space.shape or ()
        if isinstance(step, Controls):
            count = step.num_envs
            return count // self._fleets if self._fleets > 1 and count % self._fleets == 0 else count
        shape = np.shape(step)
        if len(shape) - len(single) not in (1, 2) or shape[len(shape) - len(single) :] != single:
            raise SpecError(
                [
                    f"plan: must be a policy, Controls, or actions of shape [branches, {', '.join(map(str, single))}], "
                    f"with the fleets before the branches if each has its own (got shape {list(shape)})"
                ]
            )
        return int(shape[len(shape) - len(single) - 1])

    def _spread(self, step: Any) -> Controls:
        """Controls of every copy."""
        if self._branches_of(step) != self.branches:
            raise SpecError(
                [f"plan: every tick must decide for {self.branches} branches (got {self._branches_of(step)})"]
            )
        if not isinstance(step, Controls):
            single = self._parts.action.space.shape or ()
            rows = np.broadcast_to(step, (self._fleets, self.branches, *single)).reshape(-1, *single)
            step = self._parts.decode(np.ascontiguousarray(rows))
        elif step.num_envs == self.branches:
            step = Controls.stack([step] * self._fleets)
        return Controls(**{name: np.repeat(values, self._futures, axis=0) for name, values in step.given().items()})

    def _repeated(self, rows: NDArray[Any], copies: int) -> NDArray[Any]:
        if len(rows) != self._fleets:
            raise SpecError([f"state: must have a row for each of {self._fleets} fleets (got {len(rows)})"])
        return np.repeat(rows, copies // self._fleets, axis=0)
