"""What a batch of fleets under way can be asked, and how it is held, copied and brought back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.engine import Engine, RequestLog
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fleets.indices import check_distinct, parse_fleets
from tokenfleet.envs.fleets.plans import Plan, Planned, PolicyPredictor, Same, check_simulated, parse_futures
from tokenfleet.envs.fleets.running import RunningFleets
from tokenfleet.envs.fleets.snapshots import BatchSnapshot
from tokenfleet.envs.fleets.what_if import Simulation, Simulator
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.spec import SpecError, counted, shown


class LiveFleets(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """N fleets under way, as `FleetVectorEnv` has them.

    Attributes:
        split: where the next episodes are drawn from.
    """

    split: Split
    _fleets: RunningFleets
    _simulator: Simulator | None = None

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._fleets.engine

    @property
    def on_tick(self) -> Callable[[], None] | None:
        """Called after every tick, for whoever watches the ticks inside a decision; None for nobody."""
        return self._fleets.on_tick

    @on_tick.setter
    def on_tick(self, call: Callable[[], None] | None) -> None:
        self._fleets.on_tick = call

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of every fleet, as in `SyncVectorEnv`."""
        return tuple(self._fleets.episodes.generator(index) for index in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What each generator was seeded with; -1 if unknown."""
        return tuple(self._fleets.episodes.generator_seeds)

    @property
    def episodes(self) -> list[Episode | None]:
        """The current episode of each fleet, None before its first reset."""
        return self._fleets.episodes.current

    @property
    def episode_seeds(self) -> list[int]:
        """The seeds that they were drawn from."""
        return self._fleets.episodes.seeds

    @property
    def tick(self) -> NDArray[np.int64]:
        """Ticks since the episode of each fleet began, `[N]`."""
        return self._fleets.episodes.tick.copy()

    @property
    def longest_episode_ticks(self) -> int:
        """Ticks after which every episode ends: the scenario's horizon, or a time limit below it."""
        return self._fleets.setting.last_tick

    @property
    def ended(self) -> tuple[int, ...]:
        """The fleets whose episodes ended in the last step and have not begun anew."""
        return tuple(self._fleets.ended)

    @property
    def generators(self) -> list[np.random.Generator | None]:
        """What each fleet's next episode seed is drawn from; one that is not needed yet is None."""
        return self._fleets.episodes.generators

    def close_extras(self, **kwargs: Any) -> None:
        """Let go of whoever watches the ticks: a watcher that knows the fleets would keep their memory."""
        self._fleets.on_tick = None

    def request_log(self, index: int) -> RequestLog:
        """What has become of the requests of fleet `index` in its current episode (`episodes[index].requests`)."""
        return self._fleets.request_log(index)

    def ledger(self, index: int) -> Ledger:
        """What each layer has cost and added in the current episode of fleet `index`, and the proof that it adds up.

        Of an episode that has just ended too, until the next step draws a new one (autoreset mode `NEXT_STEP`).
        """
        return self._fleets.ledger(index)

    def get_state(self) -> dict[str, Any]:
        """Everything that `set_state` needs to bring these fleets back exactly: seeds and the controls since.

        Plain data and NumPy arrays. Observation, action and reward parts are taken to be stateless.
        """
        self._check_begun()
        return {"split": self.split, "fleets": self._fleets.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> NDArray[Any]:
        """Restore what `get_state` gave, by replaying it; observations `[N, D]` of the restored fleets.

        Raises:
            ValueError: the state is of another number of fleets.
        """
        fleets = state["fleets"]
        if len(fleets) != self.num_envs:
            raise ValueError(f"the state holds {counted(len(fleets), 'fleet')}, the environment {self.num_envs}")
        self._fleets.set_state(fleets)
        self.split = state["split"]
        return self._fleets.observe()

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> NDArray[Any]:
        """Let fleet `targets[i]` become an exact copy of fleet `sources[i]`; observations `[N, D]` of all fleets.

        Everything is copied: the fleet, its episode, its metrics, and where its next episode comes from. The call takes
        time for the requests in the fleets, not for how long the fleets have run. Every source counts as it was before.

        Raises:
            SpecError: no list of numbers, not as many targets as sources, or a fleet that is to become two.
            IndexError: there is no such fleet.
        """
        self._check_begun()
        self._fleets.fork(
            parse_fleets(sources, self.num_envs, "sources"), parse_fleets(targets, self.num_envs, "targets")
        )
        return self._fleets.observe()

    def snapshot(self, fleets: Sequence[int] | None = None) -> BatchSnapshot:
        """Hold some fleets, by default all, as they are now; for `restore`."""
        self._check_begun()
        chosen = self._chosen(fleets)
        return BatchSnapshot(tuple(self._fleets.hold(index) for index in chosen), self.split)

    def restore(self, snapshot: BatchSnapshot, fleets: Sequence[int] | None = None) -> NDArray[Any]:
        """Bring fleets back to a snapshot, as often as one likes; observations `[N, D]` of all fleets.

        Args:
            snapshot: of this environment, or of another one of the same scenario and engine in this process.
            fleets: which fleet each one of the snapshot becomes; by default the first the first, and so on.

        Raises:
            ValueError: the snapshot is of another number of fleets.
            SpecError: it is of another scenario, engine or action, or no snapshot; or a fleet that is to become two.
            IndexError: there is no such fleet.
        """
        self._check_open()
        if not isinstance(snapshot, BatchSnapshot):
            raise SpecError([f"snapshot: must be what `snapshot` gave (got {shown(snapshot)})"])
        targets = self._chosen(fleets)
        check_distinct(targets)
        if len(targets) != len(snapshot):
            raise ValueError(f"the snapshot holds {counted(len(snapshot), 'fleet')}, for {len(targets)}")
        for index, held in zip(targets, snapshot.fleets, strict=True):
            self._fleets.resume(index, held)
        self.split = snapshot.split
        self._check_begun()
        return self._fleets.observe()

    def simulate(
        self,
        plan: Plan,
        horizon: int,
        *,
        then: PolicyPredictor | None = None,
        branches: int | None = None,
        futures: int | Same | Sequence[int | Same] = "same",
        fleets: Sequence[int] | None = None,
        state: Any = None,
    ) -> Simulation:
        """What would become of fleets, without touching them: copies of them run on for up to `horizon` ticks.

        Args:
            plan: what the copies do: a policy; actions `[B, A]` of B branches, `[N, B, A]` if every fleet has its own,
                or `Controls` of as many rows, which are held; or a list of these, actions for `decide_every` ticks
                each, controls for one, the last one held. Rows of `Controls` that N divides are read as N * B,
                unless `branches` is their number.
            horizon: ticks at most; a copy whose episode ends stops there.
            then: a policy that takes over when a list of decisions has come to its end.
            branches: B of a policy, 1 by default, or of a plan whose rows leave it open. A policy's observations come
                fleet by fleet, branch by branch, future by future, and it may act otherwise in every branch.
            futures: `"same"` goes on with the episode's own future, which nobody can know; a seed draws another future
                in accord with everything known now (`docs/what-if.md`); a list gives each branch all of these futures,
                the same ones for every branch.
            fleets: which ones; all by default.
            state: what the policy remembers of them, for policies that remember; None lets it begin afresh.

        Raises:
            SpecError: a plan of another shape, no such future, or a fleet whose episode has ended.
            IndexError: there is no such fleet.
        """
        self._check_begun()
        chosen = self._chosen(fleets)
        check_simulated(chosen, self._fleets.ended, horizon, branches)
        seeds = parse_futures(futures)
        planned = Planned(plan, then, self._fleets.setting.parts, (len(chosen), branches, len(seeds)), state)
        copies = len(chosen) * planned.branches * len(seeds)
        if self._simulator is None or self._simulator.copies != copies:
            self._simulator = Simulator(self._fleets.setting, copies)
        return self._simulator.run(self.snapshot(chosen).fleets, planned.branches, seeds, horizon, planned)

    def _chosen(self, fleets: Sequence[int] | None) -> list[int]:
        """The numbers of some fleets, of all by default."""
        return list(range(self.num_envs)) if fleets is None else parse_fleets(fleets, self.num_envs)

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the environment is closed; make a new one")

    def _check_begun(self) -> None:
        self._check_open()
        if not self._fleets.begun:
            raise RuntimeError("reset every fleet before the first step")
