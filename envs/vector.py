"""The batched environment: N fleets that a policy runs side by side. The single environment is a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_metrics import EpisodeMetrics, HeldMetrics
from tokenfleet.envs.engine import RequestLog, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.episode.batch import Episodes, HeldEpisode
from tokenfleet.envs.episode.history import History
from tokenfleet.envs.episode.replay import replayed
from tokenfleet.envs.fields import Record
from tokenfleet.envs.interface.arguments import (
    RENDER_MODES,
    check_choices,
    check_weights,
    checked_scale,
    first_terms,
    parse_autoreset_mode,
    parse_reset_options,
    parse_seeds,
)
from tokenfleet.envs.interface.decisions import Decisions, Memory
from tokenfleet.envs.interface.infos import BatchInfos, Info
from tokenfleet.envs.interface.parts import build_parts
from tokenfleet.envs.interface.render import make_renderer
from tokenfleet.envs.interface.reward import settle_overdue, weighted_reward
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.plans import Acts, Plan, Planned, Same, check_simulated, parse_futures
from tokenfleet.envs.registration import check_time_limit
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.standing import pool_arrays, refuse_rooflines
from tokenfleet.envs.snapshots import BatchSnapshot, FleetSnapshot, Views
from tokenfleet.envs.supervision.setpoints import Setpoints
from tokenfleet.envs.what_if import Setting, Simulation, Simulator, all_dark

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
StepResult = tuple[NDArray[Any], Float64Array, BoolArray, BoolArray, Info]

RENDER_FPS = 10


class FleetVectorEnv(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """N independent fleets of one scenario, advanced by one decision, of a tick or several, in one call.

    Fleet `i` of `reset(seed=s)` lives exactly the life of a batch of one with `reset(seed=s + i)`, to the last bit,
    whatever N or the number of threads. The two engines agree within 1e-8 s.

    Args:
        scenario: a catalogue name, a YAML path, plain data, or a `Scenario`.
        num_envs: N.
        overrides: dotted keys and values laid over the scenario.
        split: `train`, `validation` or `test`: which part of the traces episodes are drawn from.
        engine: `native` or `reference`.
        threads: worker threads inside the native engine.
        observation: None or `"fleet"` for `FleetObservation`, `"supervisor"` for `SupervisorObservation`; field names
            to keep; an object, a class or function that takes the scenario, or `"module:Class"`.
        action: None or `"direct"` for `FleetAction`, `"setpoints"` for `SetpointAction`; else as above.
        decide_every: ticks for which an action holds. None for what the action says itself (5 for set-points), else 1.
        reward: None or `"net_value"` for `NetValue`, `"certain_value"` for `CertainValue`, `"cap_aware"` for
            `CapAwareNetValue`; a function of outcome and price; else as above.
        reward_weights: weight by name of term, 1 where missing.
        reward_scale: what the weighted sum of the terms is divided by: a number, or `"reference_revenue"`, what a tick
            earns if every request is served within its SLO. None for the reward's own attribute `reward_scale`, else
            `"reference_revenue"`.
        strict_profiles: refuse a scenario with a pool that runs on a roofline; see `envs.scenario.standing`.
        ledgers: whether infos bring the `ledger` of every episode at its end, which takes time once an episode.
        autoreset_mode: what happens when an episode ends, as Gymnasium defines it.
        render_mode: None, `ansi` or `rgb_array`.
        max_episode_steps: a time limit in decisions, where it is below the scenario's horizon; Gymnasium hands over the
            one of an id.
        search_paths: folders that are searched, after the shipped ones, for the scenario and for whatever it names:
            GPUs, models, profiles, recordings, series.

    Attributes:
        scenario: validated.
        observation_model, action_model, reward_model: the parts in use.
        decide_every: ticks for which an action holds.
        on_tick: called after every tick, for whoever watches the ticks inside a decision; None for nobody.
        engine: the engine in use.
        split: where the next episodes are drawn from; `reset(options={"split": ...})` changes it.

    Raises:
        SpecError: one line per mistake.
    """

    def __init__(
        self,
        scenario: str | Path | Mapping[str, Any] | Scenario = "default",
        num_envs: int = 1,
        *,
        overrides: Mapping[str, Any] | None = None,
        split: Split = "train",
        engine: str = "native",
        threads: int = 1,
        observation: Any = None,
        action: Any = None,
        decide_every: int | None = None,
        reward: Any = None,
        reward_weights: Mapping[str, float] | None = None,
        reward_scale: Any = None,
        strict_profiles: bool = False,
        ledgers: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        search_paths: Sequence[str | Path] = (),
    ) -> None:
        check_choices(num_envs, threads, split, render_mode, max_episode_steps, decide_every)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.scenario = load_scenario(scenario, overrides, search_paths)
        if strict_profiles:
            refuse_rooflines(self.scenario)
        self._arguments = {
            "scenario": self.scenario,
            "num_envs": num_envs,
            "engine": engine,
            "threads": threads,
            "observation": observation,
            "action": action,
            "decide_every": decide_every,
            "reward": reward,
            "reward_weights": reward_weights,
            "reward_scale": reward_scale,
            "strict_profiles": strict_profiles,
            "ledgers": ledgers,
            "autoreset_mode": self.autoreset_mode,
            "render_mode": render_mode,
            "max_episode_steps": max_episode_steps,
        }
        self._spec: EnvSpec | None = None
        self.num_envs = num_envs
        self.split: Split = split
        self.render_mode = render_mode
        self._brings_ledgers = ledgers
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": RENDER_FPS,
            "autoreset_mode": self.autoreset_mode,
        }
        weights = {} if reward_weights is None else reward_weights
        self._build_parts(observation, action, reward, weights, reward_scale)
        held: int = getattr(self.action_model, "decide_every", 1)
        self.decide_every = held if decide_every is None else decide_every
        horizon = self.scenario.horizon_ticks
        self._last_tick = min(horizon, horizon if max_episode_steps is None else max_episode_steps * self.decide_every)
        self._allocate(engine, threads)

    def _build_parts(
        self, observation: Any, action: Any, reward: Any, weights: Mapping[str, float], scale: Any
    ) -> None:
        self._parts = build_parts(self.scenario, observation, action, reward)
        self.observation_model, self.action_model = self._parts.observation, self._parts.action
        self.reward_model = self._parts.reward
        terms = first_terms(self._parts.value, self.scenario)
        check_weights(weights, terms)
        self.reward_weights = dict(weights)
        self._reward_scale = checked_scale(scale, self.reward_model, self.scenario)
        self._no_terms = {name: np.zeros(self.num_envs, value.dtype) for name, value in terms.items()}
        self.single_observation_space = self.observation_model.space
        self.single_action_space = self.action_model.space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _allocate(self, engine: str, threads: int) -> None:
        count = self.num_envs
        arrays = FleetArrays.from_scenario(self.scenario)
        self.engine = make_engine(engine, arrays, count, threads)
        self._episodes = Episodes(self.scenario, count)
        self._decisions = Decisions(self._parts, count, self.decide_every)
        self._ended: list[int] = []
        self.on_tick: Callable[[], None] | None = None
        self._simulator: Simulator | None = None
        self._metrics = EpisodeMetrics(self.scenario, arrays, count)
        names = self._metrics.summary(np.zeros(1, np.intp), np.ones(1, np.int64))
        blank = {
            "reward_terms": self._no_terms,
            "cost": np.zeros(count),
            "episode_metrics": {name: np.zeros(count) for name in names},
        }
        standing = {name: np.tile(values, (count, 1)) for name, values in pool_arrays(self.scenario).items()}
        for values in standing.values():
            values.flags.writeable = False  # the infos of all steps share them
        self._infos = BatchInfos(blank, {"profiles": standing}, count)
        self._views = History[NDArray[np.float32]](count) if self.render_mode else None
        self._draw_frame: Callable[[Record], Any] | None = None
        self._begun = False
        self._serves = self.scenario.route_mask
        self._awake = arrays.view.slice("awake_replicas")
        self._above_cap = arrays.outcome.columns("above_cap_s", "row_above_cap_s")

    @property
    def blank(self) -> Mapping[str, Any]:
        """What the infos hold while there is nothing to tell: zeros, `[N]` each."""
        return self._infos.blank

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium made this environment; None for one that was made without it."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        check_time_limit(spec, self.scenario)
        self._spec = spec

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of every fleet, as in `SyncVectorEnv`."""
        return tuple(self._episodes.generator(index) for index in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What each generator was seeded with; -1 if unknown."""
        return tuple(self._episodes.generator_seeds)

    @property
    def episodes(self) -> list[Episode | None]:
        """The current episode of each fleet, None before its first reset."""
        return self._episodes.current

    @property
    def episode_seeds(self) -> list[int]:
        """The seeds that they were drawn from."""
        return self._episodes.seeds

    @property
    def tick(self) -> NDArray[np.int64]:
        """Ticks since the episode of each fleet began, `[N]`."""
        return self._episodes.tick.copy()

    @property
    def ended(self) -> tuple[int, ...]:
        """The fleets whose episodes ended in the last step and have not begun anew."""
        return tuple(self._ended)

    @property
    def generators(self) -> list[np.random.Generator | None]:
        """What each fleet's next episode seed is drawn from; one that is not needed yet is None."""
        return self._episodes.generators

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[Any], Info]:
        """Start new episodes.

        Args:
            seed: fleet `i` gets `seed + i`, or the i-th of a list; without one, its generator goes on.
            options: `split` sets where this and later episodes are drawn from; `reset_mask`, `[N]` bool, restricts the
                reset to some fleets.

        Returns:
            Observations `[N, D]` of all fleets, and infos with the keys of `step`, of which only `route_mask` and
            `profiles` are told: what each pool stands on, `is_roofline` and the expected error of every quantity,
            `[N, P]` each.
        """
        self._check_open()
        mask, self.split = parse_reset_options(options, self.num_envs, self.split)
        seeds = parse_seeds(seed, self.num_envs)
        for index in np.flatnonzero(mask).tolist():
            if seeds[index] is not None:
                self._episodes.seed(index, seeds[index])
            self._draw_episode(index)
        self._check_begun()
        return self._observe(), self._infos.of_reset(self._route_mask(), mask)

    def step(self, actions: NDArray[Any] | Controls | Setpoints) -> StepResult:
        """Advance every fleet by one decision, or less where its episode ends before that.

        Args:
            actions: `[N, A]`, which hold for `decide_every` ticks; or what they stand for in physical units: the
                `Controls` of N fleets, which hold for one tick whatever the action, or with the action `setpoints` the
                `Setpoints` of N fleets, which hold like actions.

        Raises:
            ValueError: the actions have the wrong shape, or hold NaN.
            UserCodeError: a part of the user's has failed.
            ClosedEnvironmentError: the environment is closed.

        Returns:
            Observations `[N, D]`, rewards, terminations and truncations `[N]`, and infos: `reward_terms` by name [USD],
            `cost` (seconds above a cap, summed over sites and rows), `route_mask` `[N, K, P]` (pools that can take a
            class's requests now), `profiles` as after a reset, `episode_metrics`, under a mask `_episode_metrics` of
            the fleets whose episode has just ended, and, if asked for, their `ledger`. Rewards, terms and cost are
            sums over the ticks.
        """
        self._check_begun()
        restarting = self._restart_ended()
        terms, rewards, cost = self._hold(self._decisions.take(actions), restarting)
        observations = self._observe()
        terminations, truncations = self._end()
        observations, info = self._report(observations, terms, cost, restarting)
        return observations, rewards, terminations, truncations, info

    def render(self) -> tuple[Any, ...] | None:
        """One frame a fleet: text for `ansi`, `[H, W, 3]` uint8 for `rgb_array`, None without a render mode."""
        self._check_open()
        if self._views is None:
            return None
        self._check_begun()
        if self._draw_frame is None:
            self._draw_frame = make_renderer(self.scenario, str(self.render_mode))
        frames = []
        for index in range(self.num_envs):
            past = self._views.of(index)[: int(self._episodes.tick[index])]  # it stood still afterwards
            seen = [*past, self.engine.view.rows[index]]
            frames.append(self._draw_frame(Record(self.engine.view.layout, np.stack(seen))))
        return tuple(frames)

    def request_log(self, index: int) -> RequestLog:
        """What has become of the requests of fleet `index` in its current episode (`episodes[index].requests`)."""
        return self.engine.request_log(index)

    def ledger(self, index: int) -> Ledger:
        """What each layer has cost and added in the current episode of fleet `index`, and the proof that it adds up.

        Of an episode that has just ended too, until the next step draws a new one (autoreset mode `NEXT_STEP`).
        """
        requests = self._episodes.of(index).requests
        return self._metrics.ledger(index, int(self._episodes.tick[index]), self.request_log(index), requests)

    def get_state(self) -> dict[str, Any]:
        """Everything that `set_state` needs to bring these fleets back exactly: seeds and the controls since.

        Plain data and NumPy arrays. Observation, action and reward parts are taken to be stateless.
        """
        self._check_begun()
        fleets = [
            {
                **self._episodes.get_state(index),
                "memory": list(self._decisions.hold(index)),
                "ended": index in self._ended,
            }
            for index in range(self.num_envs)
        ]
        return {"split": self.split, "fleets": fleets}

    def set_state(self, state: Mapping[str, Any]) -> NDArray[Any]:
        """Restore what `get_state` gave, by replaying it; observations `[N, D]` of the restored fleets.

        Raises:
            ValueError: the state is of another number of fleets.
        """
        fleets = state["fleets"]
        if len(fleets) != self.num_envs:
            raise ValueError(f"the state holds {len(fleets)} fleets, the environment {self.num_envs}")
        for index, fleet in enumerate(fleets):
            self._begin(index, self._episodes.set_state(index, fleet))
        for controls, waiting in replayed([fleet["controls"] for fleet in fleets]):
            self._tick(controls, self._all_but(waiting))
        for index, fleet in enumerate(fleets):
            self._decisions.resume(index, tuple(np.asarray(row) for row in fleet["memory"]))
        self._ended = [index for index, fleet in enumerate(fleets) if fleet["ended"]]
        self.split = state["split"]
        return self._observe()

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> NDArray[Any]:
        """Let fleet `targets[i]` become an exact copy of fleet `sources[i]`; observations `[N, D]` of all fleets.

        Everything is copied: the fleet, its episode, its metrics, and where its next episode comes from. It takes time
        for what lives in the fleets, not for how long they have lived. Every source counts as it was before.

        Raises:
            SpecError: not as many targets as sources, or a fleet that is to become two.
            IndexError: there is no such fleet.
        """
        self._check_begun()
        self.engine.fork(sources, targets)
        books = [self._books(source) for source in sources]
        for target, held in zip(targets, books, strict=True):
            self._resume(target, *held)
        return self._observe()

    def snapshot(self, fleets: Sequence[int] | None = None) -> BatchSnapshot:
        """Hold some fleets, by default all, as they are now; for `restore`."""
        self._check_begun()
        held = [
            FleetSnapshot(self.engine.snapshot(index), *self._books(index))
            for index in (range(self.num_envs) if fleets is None else fleets)
        ]
        return BatchSnapshot(tuple(held), self.split)

    def restore(self, snapshot: BatchSnapshot, fleets: Sequence[int] | None = None) -> NDArray[Any]:
        """Bring fleets back to a snapshot, as often as one likes; observations `[N, D]` of all fleets.

        Args:
            snapshot: of this environment, or of another one of the same scenario and engine in this process.
            fleets: which fleet each one of the snapshot becomes; by default the first the first, and so on.

        Raises:
            ValueError: the snapshot is of another number of fleets.
            SpecError: it is of another scenario or engine.
        """
        self._check_open()
        targets = range(self.num_envs) if fleets is None else fleets
        if len(targets) != len(snapshot):
            raise ValueError(f"the snapshot holds {len(snapshot)} fleets, for {len(targets)}")
        for index, held in zip(targets, snapshot.fleets, strict=True):
            self.engine.restore(index, held.engine)
            self._resume(index, held.episode, held.metrics, held.views, held.ended, held.memory)
        self.split = snapshot.split
        self._check_begun()
        return self._observe()

    def simulate(
        self,
        plan: Plan,
        horizon: int,
        *,
        then: Acts | None = None,
        branches: int | None = None,
        futures: int | Same | Sequence[int | Same] = "same",
        fleets: Sequence[int] | None = None,
        state: Any = None,
    ) -> Simulation:
        """What would become of fleets, without touching them: copies of them live on for up to `horizon` ticks.

        Args:
            plan: what the copies do: a policy; actions `[B, A]` of B branches, `[N, B, A]` if every fleet has its own,
                or `Controls` of as many rows, which are held; or a list of these, actions for `decide_every` ticks
                each, controls for one, the last one held.
            horizon: ticks at most; a copy whose episode ends stops there.
            then: a policy that takes over when a list of decisions has come to its end.
            branches: B of a policy, 1 by default; its observations come fleet by fleet, branch by branch, future by
                future, and it may act otherwise in every branch.
            futures: `"same"` goes on with what will come, which nobody can know; a seed draws anew what nobody can know
                now (`docs/what-if.md`); a list gives each branch all of these futures, the same ones for every branch.
            fleets: which ones; all by default.
            state: what the policy remembers of them, for policies that remember; None lets it begin afresh.

        Raises:
            SpecError: a plan of another shape, no such future, or a fleet whose episode has ended.
        """
        self._check_begun()
        chosen = list(range(self.num_envs)) if fleets is None else [int(index) for index in fleets]
        check_simulated(chosen, self._ended, horizon, branches)
        seeds = parse_futures(futures)
        planned = Planned(plan, then, self._parts, (len(chosen), branches, len(seeds)), state)
        copies = len(chosen) * planned.branches * len(seeds)
        if self._simulator is None or self._simulator.copies != copies:
            self._simulator = Simulator(self._setting(), copies)
        return self._simulator.run(self.snapshot(chosen).fleets, planned.branches, seeds, horizon, planned)

    def _setting(self) -> Setting:
        """What a simulation needs of this environment."""
        engine, threads = str(self._arguments["engine"]), int(self._arguments["threads"])
        return Setting(
            scenario=self.scenario,
            arrays=self.engine.arrays,
            parts=self._parts,
            reward=lambda terms: weighted_reward(terms, self.reward_weights, self._reward_scale),
            last_tick=self._last_tick,
            decide_every=self.decide_every,
            make_engine=lambda copies: make_engine(engine, self.engine.arrays, copies, threads),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Constructor arguments and `get_state`: an engine's memory does not travel between processes."""
        begun = all(episode is not None for episode in self.episodes)
        return {
            "arguments": {**self._arguments, "split": self.split},
            "spec": self.spec,
            "fleets": self.get_state() if begun else None,
            "generators": (self._episodes.generators, self._episodes.generator_seeds),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["arguments"])  # type: ignore[misc]
        self.spec = state["spec"]
        self._episodes.generators, self._episodes.generator_seeds = state["generators"]
        if state["fleets"] is not None:
            self.set_state(state["fleets"])

    def _hold(self, ticks: int, restarting: list[int]) -> tuple[dict[str, Float64Array], Float64Array, Float64Array]:
        """Let the last decision hold for so many ticks, in fleets that neither restart nor end.

        Returns:
            Sums of the reward terms, of the rewards and of the cost, `[N]` each.
        """
        moving = self._all_but(restarting)
        terms, rewards = self._tick(self._decisions.controls(self.engine.view, moving), moving)
        cost = self._cost()
        for _ in range(ticks - 1):
            over = np.logical_or(*self._over)
            if over.any():
                moving = ~over if moving is None else moving & ~over
            if moving is not None and not moving.any():
                break
            more_terms, more = self._tick(self._decisions.controls(self.engine.view, moving), moving)
            terms = {name: values + more_terms[name] for name, values in terms.items()}
            rewards, cost = rewards + more, cost + self._cost()
        return terms, rewards, cost

    def _tick(self, controls: Controls, moving: BoolArray | None) -> tuple[dict[str, Float64Array], Float64Array]:
        """One tick of the fleets that move, `[N]`, or of all; its reward terms and rewards, 0 for the others."""
        tariff = self._episodes.tariff()
        if moving is None or moving.any():
            if self._views is not None:
                self._views.append(self.engine.view.rows.copy())
            self.engine.step(controls, moving)
            self._episodes.advance(controls, moving)
        self._over = self._all_over()
        settle_overdue(self.engine.outcome, np.logical_or(*self._over))
        terms = self._parts.value(self.engine.outcome, tariff[:, : len(self.scenario.sites)])
        rewards = weighted_reward(terms, self.reward_weights, self._reward_scale)
        if moving is not None:
            terms = {name: np.where(moving, values, 0) for name, values in terms.items()}
            rewards = np.where(moving, rewards, 0.0)
            self._forget_views(moving)
        self._metrics.add(self.engine.outcome, tariff, rewards)
        if self.on_tick is not None:
            self.on_tick()
        return terms, rewards

    def _all_but(self, fleets: list[int]) -> BoolArray | None:
        """The mask of all other fleets, `[N]`; None for all."""
        return ~self._infos.only(fleets) if fleets else None

    def _forget_views(self, moving: BoolArray) -> None:
        """Those of fleets that stand at the start of their episodes have seen nothing yet."""
        if self._views is not None:
            for index in np.flatnonzero(~moving & (self._episodes.tick == 0)).tolist():
                self._views.begin(index)

    def _restart_ended(self) -> list[int]:
        """The fleets that spend this step on a new episode, which is drawn here."""
        restarting = list(self._ended)
        if restarting and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(f"the episodes of fleets {restarting} have ended; reset them before the next step")
        for index in restarting:
            self._draw_episode(index)
        return restarting

    def _draw_episode(self, index: int) -> None:
        self._begin(index, self._episodes.draw(index, self.split))

    def _begin(self, index: int, episode: Episode) -> None:
        """Let fleet `index` begin its episode."""
        self.engine.reset(index, episode)
        if index in self._ended:
            self._ended.remove(index)
        self._metrics.begin(index)
        self._decisions.begin(index)
        if self._views is not None:
            self._views.begin(index)

    def _books(self, index: int) -> tuple[HeldEpisode, HeldMetrics, Views | None, bool, Memory]:
        """What is known of fleet `index` outside of the engine."""
        views = None if self._views is None else self._views.past(index)
        memory = self._decisions.hold(index)
        return self._episodes.hold(index), self._metrics.hold(index), views, index in self._ended, memory

    def _resume(
        self,
        index: int,
        episode: HeldEpisode,
        metrics: HeldMetrics,
        views: Views | None,
        ended: bool,
        memory: Memory,
    ) -> None:
        """Let fleet `index`, whose engine has been seen to, go on from there."""
        self._decisions.resume(index, memory)
        self._episodes.resume(index, episode)
        self._metrics.resume(index, metrics)
        if self._views is not None:
            self._views.resume(index, views or ())
        self._ended = sorted({*self._ended, index} if ended else {*self._ended} - {index})

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the environment is closed; make a new one")

    def _check_begun(self) -> None:
        self._check_open()
        if not self._begun:
            self._begun = all(episode is not None for episode in self.episodes)
        if not self._begun:
            raise RuntimeError("reset every fleet before the first step")

    def _observe(self) -> NDArray[Any]:
        return self._parts.observe(self.engine.view, self._decisions.memory)

    def _all_over(self) -> tuple[BoolArray, BoolArray]:
        """Terminations (every site is dark) and truncations (the horizon or the time limit), `[N]`."""
        return all_dark(self.engine.view), self._episodes.tick >= self._last_tick

    def _end(self) -> tuple[BoolArray, BoolArray]:
        """Terminations and truncations `[N]`, noted as ended."""
        terminations, truncations = self._over
        self._ended = (terminations | truncations).nonzero()[0].tolist()
        return terminations, truncations

    def _report(
        self, observations: NDArray[Any], terms: dict[str, Float64Array], cost: Float64Array, restarting: list[int]
    ) -> tuple[NDArray[Any], Info]:
        """The infos of the step, and the observations: those of a new episode where one begins in the same step."""
        happened: Info = {"reward_terms": terms, "cost": cost}
        ending = self._ending_info() if self._ended else {}
        info = self._infos.of_step(happened, ending, restarting, self._ended)
        if self._ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
            last: Info = {**happened, **self._infos.constant, "route_mask": self._route_mask(), **ending}
            info |= self._infos.of_last(observations, last, self._ended)
            for index in list(self._ended):
                self._draw_episode(index)
            observations = self._observe()
        return observations, info | self._infos.of_routes(self._route_mask())

    def _cost(self) -> Float64Array:
        cost: Float64Array = np.add.reduce(self.engine.outcome.rows.take(self._above_cap, axis=1), axis=1)
        return cost

    def _route_mask(self) -> BoolArray:
        awake = self.engine.view.rows[:, self._awake] > 0.0
        mask: BoolArray = awake[:, None] & self._serves
        return mask

    def _episode_metrics(self) -> dict[str, Float64Array]:
        """Metrics of the fleets whose episodes have ended, `[N]` each, zero elsewhere."""
        ended = np.array(self._ended)
        spread = {}
        for name, values in self._metrics.summary(ended, self._episodes.tick[ended]).items():
            spread[name] = np.zeros(self.num_envs)
            spread[name][ended] = values
        return spread

    def _ending_info(self) -> Info:
        """What the end of their episodes brings to the fleets that have ended."""
        metrics: Info = {"episode_metrics": self._episode_metrics()}
        return {**metrics, "ledger": self._final_ledgers()} if self._brings_ledgers else metrics

    def _final_ledgers(self) -> NDArray[Any]:
        """The `Ledger` of every fleet whose episode has ended, `[N]` of objects, None elsewhere."""
        ledgers = np.full(self.num_envs, None, dtype=object)
        for index in self._ended:
            ledgers[index] = self.ledger(index)
        return ledgers
