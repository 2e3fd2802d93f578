"""Fleets under way: N of them beside each other, each in its own episode, advanced tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_metrics import EpisodeMetrics
from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.batch import Episodes
from tokenfleet.envs.episode.history import History
from tokenfleet.envs.episode.replay import replayed
from tokenfleet.envs.fleets.setting import Setting
from tokenfleet.envs.fleets.snapshots import Bookkeeping, FleetSnapshot
from tokenfleet.envs.interface.decisions import Decisions
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]


class RunningFleets:
    """N fleets and all that is known of them: episodes, decisions, metrics and views.

    Args:
        setting: what they run under.
        num_envs: N.
        keeps_views: whether the views of an episode are kept, for rendering.

    Attributes:
        setting: as given.
        engine: simulates them.
        episodes: what happens to them, and how far each has come.
        decisions: what they were told last.
        ended: the fleets whose episodes ended in the last step and have not begun anew, in order.
        on_tick: called after every tick; None for nobody.
    """

    def __init__(self, setting: Setting, num_envs: int, keeps_views: bool) -> None:
        self.setting = setting
        self.engine = setting.make_engine(num_envs)
        self.episodes = Episodes(setting.scenario, num_envs)
        self.decisions = Decisions(setting.parts, num_envs, setting.decide_every)
        self.ended: list[int] = []
        self.on_tick: Callable[[], None] | None = None
        self._num_envs = num_envs
        self._metrics = EpisodeMetrics(setting.scenario, setting.arrays, num_envs)
        self._views = History[NDArray[np.float32]](num_envs) if keeps_views else None
        self._begun = False
        self._serves = setting.scenario.route_mask
        self._awake = setting.arrays.view.slice("awake_replicas")
        self._above_cap = setting.arrays.outcome.columns("above_cap_s", "row_above_cap_s")

    @property
    def begun(self) -> bool:
        """Whether every fleet has an episode."""
        self._begun = self._begun or all(episode is not None for episode in self.episodes.current)
        return self._begun

    def draw(self, index: int, split: Split) -> None:
        """Let fleet `index` begin its next episode."""
        self._begin(index, self.episodes.draw(index, split))

    def advance(self, ticks: int, idle: Sequence[int]) -> tuple[dict[str, Float64Array], Float64Array, Float64Array]:
        """Let the last decision hold for so many ticks, in fleets that are not `idle` and do not end.

        Returns:
            Sums of the reward terms, of the rewards and of the cost, `[N]` each.
        """
        moving = self._all_but(idle)
        terms, rewards = self._tick(self.decisions.controls(self.engine.view, moving), moving)
        cost = self._cost()
        for _ in range(ticks - 1):
            over = np.logical_or(*self._over)
            if over.any():
                moving = ~over if moving is None else moving & ~over
            if moving is not None and not moving.any():
                break
            more_terms, more = self._tick(self.decisions.controls(self.engine.view, moving), moving)
            terms = {name: values + more_terms[name] for name, values in terms.items()}
            rewards, cost = rewards + more, cost + self._cost()
        return terms, rewards, cost

    def observe(self) -> NDArray[Any]:
        """Observations `[N, D]`."""
        return self.setting.parts.observe(self.engine.view, self.decisions.memory)

    def end(self) -> tuple[BoolArray, BoolArray]:
        """Terminations and truncations of the last tick, `[N]`, noted as `ended`."""
        terminations, truncations = self._over
        self.ended = (terminations | truncations).nonzero()[0].tolist()
        return terminations, truncations

    def route_mask(self) -> BoolArray:
        """Pools that can take a class's requests now, `[N, K, P]`."""
        awake = self.engine.view.rows[:, self._awake] > 0.0
        mask: BoolArray = awake[:, None] & self._serves
        return mask

    def blank_metrics(self) -> dict[str, Float64Array]:
        """Zeros for every metric of an episode, `[N]` each."""
        names = self._metrics.summary(np.zeros(1, np.intp), np.ones(1, np.int64))
        return {name: np.zeros(self._num_envs) for name in names}

    def final_metrics(self) -> dict[str, Float64Array]:
        """Metrics of the fleets whose episodes have ended, `[N]` each, zero elsewhere."""
        ended = np.array(self.ended)
        spread = {}
        for name, values in self._metrics.summary(ended, self.episodes.tick[ended]).items():
            spread[name] = np.zeros(self._num_envs)
            spread[name][ended] = values
        return spread

    def final_ledgers(self) -> NDArray[Any]:
        """The `Ledger` of every fleet whose episode has ended, `[N]` of objects, None elsewhere."""
        ledgers = np.full(self._num_envs, None, dtype=object)
        for index in self.ended:
            ledgers[index] = self.ledger(index)
        return ledgers

    def request_log(self, index: int) -> RequestLog:
        """What has become of the requests of fleet `index`."""
        return self.engine.request_log(index)

    def ledger(self, index: int) -> Ledger:
        """What each layer has cost and added in the episode of fleet `index`."""
        requests = self.episodes.of(index).requests
        return self._metrics.ledger(index, int(self.episodes.tick[index]), self.request_log(index), requests)

    def seen(self, index: int) -> Record:
        """The views of fleet `index` since its episode began, a row a tick, and the one now; needs `keeps_views`."""
        assert self._views is not None
        past = self._views.of(index)[: int(self.episodes.tick[index])]  # it stood still afterwards
        return Record(self.engine.view.layout, np.stack([*past, self.engine.view.rows[index]]))

    def hold(self, index: int) -> FleetSnapshot:
        """All of fleet `index`, for `resume`."""
        return FleetSnapshot(self.engine.snapshot(index), self._bookkeeping(index))

    def resume(self, index: int, held: FleetSnapshot) -> None:
        """Let fleet `index` go on from there.

        Raises:
            SpecError: the snapshot is of another scenario, engine or action.
        """
        self.decisions.check(held.bookkeeping.memory)
        self.engine.restore(index, held.engine)
        self._resume_bookkeeping(index, held.bookkeeping)

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Let fleet `targets[i]` become fleet `sources[i]`, as that was before.

        Raises:
            SpecError: not as many targets as sources, or a fleet that is to become two.
            IndexError: there is no such fleet.
        """
        self.engine.fork(sources, targets)
        bookkeeping = [self._bookkeeping(source) for source in sources]
        for target, held in zip(targets, bookkeeping, strict=True):
            self._resume_bookkeeping(target, held)

    def get_state(self) -> list[dict[str, Any]]:
        """What `set_state` needs of every fleet, as plain data and NumPy arrays."""
        return [
            {
                **self.episodes.get_state(index),
                "memory": list(self.decisions.hold(index)),
                "ended": index in self.ended,
            }
            for index in range(self._num_envs)
        ]

    def set_state(self, fleets: Sequence[Mapping[str, Any]]) -> None:
        """Bring every fleet back to what `get_state` gave, by running its episode again."""
        for index, fleet in enumerate(fleets):
            self._begin(index, self.episodes.set_state(index, dict(fleet)))
        for controls, waiting in replayed([fleet["controls"] for fleet in fleets]):
            self._tick(controls, self._all_but(waiting))
        for index, fleet in enumerate(fleets):
            self.decisions.resume(index, tuple(np.asarray(row) for row in fleet["memory"]))
        self.ended = [index for index, fleet in enumerate(fleets) if fleet["ended"]]

    def _begin(self, index: int, episode: Episode) -> None:
        """Let fleet `index` begin its episode."""
        self.engine.reset(index, episode)
        if index in self.ended:
            self.ended.remove(index)
        self._metrics.begin(index)
        self.decisions.begin(index)
        if self._views is not None:
            self._views.begin(index)

    def _bookkeeping(self, index: int) -> Bookkeeping:
        return Bookkeeping(
            episode=self.episodes.hold(index),
            metrics=self._metrics.hold(index),
            views=None if self._views is None else self._views.past(index),
            ended=index in self.ended,
            memory=self.decisions.hold(index),
        )

    def _resume_bookkeeping(self, index: int, held: Bookkeeping) -> None:
        self.decisions.resume(index, held.memory)
        self.episodes.resume(index, held.episode)
        self._metrics.resume(index, held.metrics)
        if self._views is not None:
            self._views.resume(index, held.views or ())
        self.ended = sorted({*self.ended, index} if held.ended else {*self.ended} - {index})

    def _tick(self, controls: Controls, moving: BoolArray | None) -> tuple[dict[str, Float64Array], Float64Array]:
        """One tick of the fleets that move, `[N]`, or of all; its reward terms and rewards, 0 for the others."""
        tariff = self.episodes.tariff()
        if moving is None or moving.any():
            if self._views is not None:
                self._views.append(self.engine.view.rows.copy())
            self.engine.step(controls, moving)
            self.episodes.advance(controls, moving)
        self._over = self.setting.over(self.engine.view, self.episodes.tick)
        terms, rewards = self.setting.value(self.engine.outcome, tariff, np.logical_or(*self._over))
        if moving is not None:
            terms = {name: np.where(moving, values, 0) for name, values in terms.items()}
            rewards = np.where(moving, rewards, 0.0)
            self._forget_views(moving)
        self._metrics.add(self.engine.outcome, tariff, rewards)
        if self.on_tick is not None:
            self.on_tick()
        return terms, rewards

    def _forget_views(self, moving: BoolArray) -> None:
        """Those of fleets that stand at the start of their episodes have seen nothing yet."""
        if self._views is not None:
            for index in np.flatnonzero(~moving & (self.episodes.tick == 0)).tolist():
                self._views.begin(index)

    def _all_but(self, idle: Sequence[int]) -> BoolArray | None:
        """The mask of all other fleets, `[N]`; None for all."""
        if not idle:
            return None
        mask = np.ones(self._num_envs, np.bool_)
        mask[list(idle)] = False
        return mask

    def _cost(self) -> Float64Array:
        """Seconds above a cap in the last tick, summed over sites and rows, `[N]`."""
        cost: Float64Array = np.add.reduce(self.engine.outcome.rows.take(self._above_cap, axis=1), axis=1)
        return cost
