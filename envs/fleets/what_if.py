"""What would become of fleets under other decisions: copies of them run on, in one future or in many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_metrics import EpisodeMetrics
from tokenfleet.envs.engine import present_of
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.batch import tariff_of
from tokenfleet.envs.episode.future import draw_future
from tokenfleet.envs.fleets.plans import Same
from tokenfleet.envs.fleets.setting import Setting
from tokenfleet.envs.fleets.snapshots import FleetSnapshot
from tokenfleet.envs.interface.decisions import Decisions, Memory
from tokenfleet.envs.rows import Record

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Simulation:
    """Results of N fleets in B branches and F futures each; all arrays are `[N, B, F]`.

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
        """What one copy saw last, by names; see `tokenfleet.envs.fields.VIEW`.

        Raises:
            IndexError: there is no such copy.
        """
        copy, copies = (fleet, branch, future), self.reward.shape
        if not all(0 <= number < count for number, count in zip(copy, copies, strict=True)):
            raise IndexError(f"fleet, branch and future {copy}: this answer has {copies} of them, numbered from 0")
        place = np.ravel_multi_index(copy, copies)
        return Record(self.views.layout, self.views.rows[place : place + 1])

    def best(self) -> NDArray[np.intp]:
        """The branch with the highest mean reward over the futures, of every fleet, `[N]`."""
        best: NDArray[np.intp] = self.reward.mean(axis=2).argmax(axis=1)
        return best


class Simulator:
    """M copies of fleets, which run on by themselves.

    Args:
        setting: the environment.
        copies: M.

    Attributes:
        copies: M.
    """

    def __init__(self, setting: Setting, copies: int) -> None:
        self.copies = copies
        self._setting = setting
        self._engine = setting.make_engine(copies)
        self._metrics = EpisodeMetrics(setting.scenario, setting.arrays, copies)
        self._decisions = Decisions(setting.parts, copies, setting.decide_every)

    def run(
        self,
        fleets: Sequence[FleetSnapshot],
        branches: int,
        futures: Sequence[int | Same],
        horizon: int,
        decide: Decide,
    ) -> Simulation:
        """Run every fleet in `branches` times `futures` copies.

        Args:
            fleets: N of them, as they are now.
            branches: B.
            futures: F of them, `"same"` or a seed each.
            horizon: ticks at most.
            decide: actions or controls for all copies.
        """
        shape = len(fleets), branches, len(futures)
        starts = [self._starts(fleet, futures) for fleet in fleets]
        begin = [starts[n][f] for n, _, f in np.ndindex(shape)]
        tariff = np.stack([start.tariff for start in begin])
        first = np.array([start.tick for start in begin], np.int64)
        for copy, start in enumerate(begin):
            self._engine.restore(copy, start.state)
            self._metrics.begin(copy)
            self._decisions.resume(copy, start.memory)
        last = np.minimum(first + horizon, self._setting.last_tick)
        found = _Found(self._engine.view.copy(), self._observe().copy(), self.copies)
        running, tick, every = np.ones(self.copies, np.bool_), first.copy(), np.arange(self.copies)
        held, left = None, 0
        while running.any():
            if not left:
                before, held = held, decide(self._observe)
                left = self._decisions.take(held) if held is not before else self._decisions.ticks
            left -= 1
            self._engine.step(self._decisions.controls(self._engine.view, running), running)
            tariff_now = tariff[every, np.minimum(tick, tariff.shape[1] - 1)]
            tick += running
            over = np.logical_or(*self._setting.over(self._engine.view, tick))
            _, rewards = self._setting.value(self._engine.outcome, tariff_now, over)
            self._metrics.add(self._engine.outcome, tariff_now, rewards)
            found.rewards += np.where(running, rewards, 0.0)
            done = np.flatnonzero(running & (over | (tick >= last)))
            if len(done):
                running[done] = False
                summary = self._metrics.summary(done, (tick - first)[done])
                found.write(done, self._engine.view, self._observe(), (tick - first)[done], over[done], summary)
        return found.simulation(shape)

    def _starts(self, fleet: FleetSnapshot, futures: Sequence[int | Same]) -> list[_Start]:
        """One fleet at the beginning of each future."""
        held, memory = fleet.bookkeeping.episode, fleet.bookkeeping.memory
        episode, tick = held.current, held.tick
        assert episode is not None
        starts = []
        for seed in futures:
            if seed == "same":
                starts.append(_Start(fleet.engine, held.tariff, tick, memory))
                continue
            self._engine.restore(0, fleet.engine)
            other = self._other_future(episode, tick, int(seed))
            starts.append(_Start(self._engine.snapshot(0), tariff_of(other), tick, memory))
        return starts

    def _other_future(self, episode: Episode, tick: int, seed: int) -> Episode:
        """Draw one for the engine's first fleet, and let it go on in it."""
        future = draw_future(episode, present_of(self._engine, 0, tick), seed)
        self._engine.change_future(0, future)
        return future.episode

    def _observe(self) -> NDArray[Any]:
        return self._setting.parts.observe(self._engine.view, self._decisions.memory)


Decide = Callable[[Callable[[], NDArray[Any]]], Any]
"""Actions or controls of M copies, the same object for as long as they stay; called once a decision with what gives
their observations `[M, D]`."""


@dataclass(frozen=True)
class _Start:
    """A fleet at the beginning of a future: its state, its episode's tariff `[H, 2 S]`, what its action remembers."""

    state: Any
    tariff: Float64Array
    tick: int
    memory: Memory


class _Found:
    """Results of M copies, each up to its own end."""

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
