"""The batched environment: N fleets that a policy runs side by side. The single environment is a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from tokenfleet.envs.fleets.live import LiveFleets
from tokenfleet.envs.fleets.running import RunningFleets
from tokenfleet.envs.fleets.setting import Setting
from tokenfleet.envs.interface.arguments import (
    RENDER_MODES,
    check_choices,
    checked_scale,
    checked_weights,
    first_terms,
    parse_autoreset_mode,
    parse_reset_options,
    parse_seeds,
)
from tokenfleet.envs.interface.infos import BatchInfos, Info
from tokenfleet.envs.interface.parts import Parts, build_parts
from tokenfleet.envs.interface.render import make_renderer
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.registration import check_time_limit
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.provenance import pool_arrays, refuse_rooflines
from tokenfleet.envs.supervision.setpoints import Setpoints

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
StepResult = tuple[NDArray[Any], Float64Array, BoolArray, BoolArray, Info]

RENDER_FPS = 10


class FleetVectorEnv(LiveFleets):
    """N independent fleets of one scenario, advanced by one decision, of a tick or several, in one call.

    Fleet `i` of `reset(seed=s)` does exactly what the fleet of a batch of one does after `reset(seed=s + i)`, to the
    last bit, for every N and number of threads. The two engines agree within 1e-8 s.

    Args:
        scenario: a catalogue name, a YAML path, plain data, or a `Scenario`.
        num_envs: N.
        overrides: dotted keys and values laid over the scenario.
        split: `train`, `validation` or `test`: which part of the traces episodes are drawn from.
        engine: `native` or `reference`.
        threads: worker threads inside the native engine.
        observation: None or `"fleet"` for `FleetObservation`, `"supervisor"` for `SupervisorObservation`; names of
            fields of either to keep; an object, a class or function that takes the scenario, or `"module:Class"`.
        action: None or `"direct"` for `FleetAction`, `"setpoints"` for `SetpointAction`; else as above.
        decide_every: ticks for which an action holds. None for what the action says itself (5 for set-points), else 1.
        reward: None or `"net_value"` for `NetValue`, `"certain_value"` for `CertainValue`, `"cap_aware"` for
            `CapAwareNetValue`; a function of outcome and price; else as above.
        reward_weights: weight by name of term, 1 where missing.
        reward_scale: what the weighted sum of the terms is divided by: a number, or `"reference_revenue"`, what a tick
            earns if every request is served within its SLO. None for the reward's own attribute `reward_scale`, else
            `"reference_revenue"`.
        strict_profiles: refuse a scenario with a pool that runs on a roofline; see `envs.scenario.provenance`.
        ledgers: whether infos bring the `ledger` of every episode at its end, which takes time once an episode.
        autoreset_mode: what happens when an episode ends, as Gymnasium defines it.
        render_mode: None, `ansi` or `rgb_array`.
        max_episode_steps: a time limit in decisions, where it is below the scenario's horizon; Gymnasium hands over the
            one of an id.
        search_paths: folders that are searched, after the shipped ones, for the scenario and for the entries that it
            names: GPUs, models, profiles, recordings, series.

    Attributes:
        scenario: validated.
        observation_model, action_model, reward_model: the parts in use.
        decide_every: ticks for which an action holds.
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
        parts = build_parts(self.scenario, observation, action, reward)
        terms = first_terms(parts.value, self.scenario)
        self.reward_weights = checked_weights(reward_weights, terms)
        scale = checked_scale(reward_scale, parts.reward, self.scenario)
        setting = Setting.of(
            self.scenario, parts, self.reward_weights, scale, decide_every, max_episode_steps, engine, threads
        )
        self.decide_every = setting.decide_every
        self._expose(parts)
        self._fleets = RunningFleets(setting, num_envs, keeps_views=render_mode is not None)
        self._infos = self._blank_infos(terms)
        self._draw_frame: Callable[[Record], Any] | None = None

    def _expose(self, parts: Parts) -> None:
        """What a policy meets: the parts and their spaces."""
        self.observation_model, self.action_model = parts.observation, parts.action
        self.reward_model = parts.reward
        self.single_observation_space = parts.observation.space
        self.single_action_space = parts.action.space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _blank_infos(self, terms: Mapping[str, Float64Array]) -> BatchInfos:
        """Infos with nothing to tell yet but what each pool stands on."""
        count = self.num_envs
        blank = {
            "reward_terms": {name: np.zeros(count, value.dtype) for name, value in terms.items()},
            "cost": np.zeros(count),
            "episode_metrics": self._fleets.blank_metrics(),
        }
        provenance = {name: np.tile(values, (count, 1)) for name, values in pool_arrays(self.scenario).items()}
        for values in provenance.values():
            values.flags.writeable = False  # the infos of all steps share them
        return BatchInfos(blank, {"profiles": provenance}, count)

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

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[Any], Info]:
        """Start new episodes; an option, split, mask or seed that cannot be is a `SpecError`.

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
                self._fleets.episodes.seed(index, seeds[index])
            self._fleets.draw(index, self.split)
        self._check_begun()
        return self._fleets.observe(), self._infos.of_reset(self._fleets.route_mask(), mask)

    def step(self, actions: NDArray[Any] | Controls | Setpoints) -> StepResult:
        """Advance every fleet by one decision, or by less where its episode ends first.

        Args:
            actions: `[N, A]`, which hold for `decide_every` ticks; or the same in physical units: `Controls` of N
                fleets hold for one tick, and with the action `setpoints` the `Setpoints` of N fleets hold like actions.

        Raises:
            ValueError: the actions have the wrong shape, or hold NaN.
            UserCodeError: a part of the user's has failed.
            RuntimeError: a fleet was never reset; or, with autoreset disabled, an episode has ended.
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
        ticks = self._fleets.decisions.take(actions, restarting)
        terms, rewards, cost = self._fleets.advance(ticks, restarting)
        observations = self._fleets.observe()
        terminations, truncations = self._fleets.end()
        observations, info = self._report(observations, terms, cost, restarting)
        return observations, rewards, terminations, truncations, info

    def render(self) -> tuple[Any, ...] | None:
        """One frame a fleet: text for `ansi`, `[H, W, 3]` uint8 for `rgb_array`, None without a render mode."""
        self._check_open()
        if self.render_mode is None:
            return None
        self._check_begun()
        if self._draw_frame is None:
            self._draw_frame = make_renderer(self.scenario, self.render_mode)
        return tuple(self._draw_frame(self._fleets.seen(index)) for index in range(self.num_envs))

    def __getstate__(self) -> dict[str, Any]:
        """Constructor arguments and `get_state`: an engine's memory does not travel between processes."""
        return {
            "arguments": {**self._arguments, "split": self.split},
            "spec": self.spec,
            "fleets": self.get_state() if self._fleets.begun else None,
            "generators": (self._fleets.episodes.generators, self._fleets.episodes.generator_seeds),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["arguments"])  # type: ignore[misc]
        self.spec = state["spec"]
        self._fleets.episodes.generators, self._fleets.episodes.generator_seeds = state["generators"]
        if state["fleets"] is not None:
            self.set_state(state["fleets"])

    def _restart_ended(self) -> list[int]:
        """The fleets that spend this step on a new episode; this method draws the episodes."""
        restarting = list(self._fleets.ended)
        if restarting and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(f"the episodes of fleets {restarting} have ended; reset them before the next step")
        for index in restarting:
            self._fleets.draw(index, self.split)
        return restarting

    def _report(
        self, observations: NDArray[Any], terms: dict[str, Float64Array], cost: Float64Array, restarting: list[int]
    ) -> tuple[NDArray[Any], Info]:
        """The infos of the step, and the observations: those of a new episode where one begins in the same step."""
        ended, happened = list(self._fleets.ended), {"reward_terms": terms, "cost": cost}
        ending = self._ending_info() if ended else {}
        info = self._infos.of_step(happened, ending, restarting, ended)
        if ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
            last: Info = {**happened, **self._infos.constant, "route_mask": self._fleets.route_mask(), **ending}
            info |= self._infos.of_last(observations, last, ended)
            for index in ended:
                self._fleets.draw(index, self.split)
            observations = self._fleets.observe()
        return observations, info | self._infos.of_routes(self._fleets.route_mask())

    def _ending_info(self) -> Info:
        """What the end of their episodes brings to the fleets that have ended."""
        metrics: Info = {"episode_metrics": self._fleets.final_metrics()}
        return {**metrics, "ledger": self._fleets.final_ledgers()} if self._brings_ledgers else metrics
