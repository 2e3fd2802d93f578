"""Fleet-v0: one fleet as a Gymnasium environment; a batch of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fleets.plans import Plan, PolicyPredictor, Same
from tokenfleet.envs.fleets.snapshots import BatchSnapshot
from tokenfleet.envs.fleets.what_if import Simulation
from tokenfleet.envs.interface.arguments import (
    RENDER_MODES,
    SINGLE_RESET_OPTIONS,
    checked_action,
    parse_reset_options,
    parse_seeds,
)
from tokenfleet.envs.interface.infos import Info, info_of, with_masks
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.registration import check_time_limit
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.supervision.setpoints import Setpoints
from tokenfleet.envs.vector import RENDER_FPS, FleetVectorEnv


class FleetEnv(gymnasium.Env[NDArray[Any], NDArray[Any]]):
    """A token factory behind a capped grid connection: route its requests and set its power, tick by tick.

    ## Description
    A fleet of GPU pools at one or more sites serves requests for tokens. Between two decisions every request goes
    through continuous batching, event by event. Every site's meter is read once a tick against a cap that may fall
    with short notice. Above the cap for too long the power brake forces all clocks of the site to the floor; far above
    it for too long the breaker trips and the site is dark. Power, not silicon, is the limit.

    ## Action Space
    `Box(-1, 1, (A,), float32)`. An action is a row of segments, one for each control: routing, clocks, awake replicas,
    admission and, where the scenario has them, batteries, standby, variants, training jobs, prefix affinity and prices.
    `batch.action_model.table` lists the segments of an environment; `docs/environments/fleet.md` gives the formulas.
    `FleetAction` translates to and from `Controls` in physical units. Entries beyond [-1, 1] count as the nearer end.

    ## Observation Space
    `Box(low, high, (D,), float32)`: each named value over a scale that the scenario fixes, cut at `low` and `high`.
    `low` is 0 but for what can be negative, such as the electricity price. `FleetObservation.decode` gives the values
    back by name, in their units.

    | for each | values | of |
    |---|---|---|
    | pool | queue, batch, KV cache, replicas, clock, power, tokens generated | the tick that has passed |
    | request class | arrivals, held requests, endings, time to first token | the tick that has passed |
    | site | metered power, brake, time above the cap, time dark | the tick that has passed |
    | site | cap, electricity price, carbon intensity | the coming tick |
    | site and lead time | announced cap | later |
    | fleet | share of the episode that has passed | |

    ## Rewards
    Net value of the tick in dollars (tokens sold within their SLO, late ones at a reduced price, less a credit for lost
    requests, less electricity), over what a tick earns on average if every request is served within its SLO
    (`reward_scale`). The terms are in `info["reward_terms"]` [USD]; `reward_weights` weighs them.

    ## Infos
    - `reward_terms`, and `cost`: the seconds above a cap in the tick, summed over sites and rows, for constrained
      learning;
    - `route_mask` `[K, P]`: the pools that can take a class's requests now;
    - `profiles`: what each pool stands on, `is_roofline` and the expected error of every quantity, `[P]` each;
    - `episode_metrics` (see `envs.accounts.metrics`);
    - `ledger`, if asked for, where an episode ends: what each layer has cost and added (`docs/ledger.md`). The method
      `ledger()` says so at any time.

    `reset` and every step give the same keys, shapes and types, but for `ledger`. The terms and the cost of a reset are
    0, and so are the metrics until an episode ends.

    ## Starting State
    Every replica awake and idle, every clock at its highest, prefix caches with the contexts of sessions under way.
    Demand, events and uncertain physics are drawn from the seed, once, before the first tick;
    `reset(options={"split": "test"})` draws from another split.

    ## Episode End
    Truncation after the scenario's `horizon_ticks`. Termination only when every site is dark.
    `tokenfleet/AgentSwarm-v0` and the other ids of shipped scenarios say so in `spec.max_episode_steps`.

    ## Arguments
    ```python
    gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", scenario="tiny", overrides={"sites.lab.grid.cap_fraction": 0.6})
    ```

    Those of `FleetVectorEnv`, without `num_envs`, `threads`, `autoreset_mode` and `max_episode_steps`.

    ## Vectorized environment
    `gymnasium.make_vec("tokenfleet:tokenfleet/Fleet-v0", num_envs=64)` gives `FleetVectorEnv`, which steps all fleets
    in one call; this environment is a batch of one.

    ## Version History
    * v0: initial version.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012 (Gymnasium's name)

    def __init__(
        self,
        scenario: str | Path | Mapping[str, Any] | Scenario = "default",
        *,
        overrides: Mapping[str, Any] | None = None,
        split: Split = "train",
        engine: str = "native",
        observation: Any = None,
        action: Any = None,
        decide_every: int | None = None,
        reward: Any = None,
        reward_weights: Mapping[str, float] | None = None,
        reward_scale: Any = None,
        strict_profiles: bool = False,
        ledgers: bool = False,
        render_mode: str | None = None,
        search_paths: Sequence[str | Path] = (),
    ) -> None:
        """See the class; `FleetVectorEnv` says what may be given for each part."""
        self.batch = FleetVectorEnv(
            scenario,
            1,
            overrides=overrides,
            split=split,
            engine=engine,
            observation=observation,
            action=action,
            decide_every=decide_every,
            reward=reward,
            reward_weights=reward_weights,
            reward_scale=reward_scale,
            strict_profiles=strict_profiles,
            ledgers=ledgers,
            autoreset_mode=AutoresetMode.DISABLED,
            render_mode=render_mode,
            search_paths=search_paths,
        )
        self._spec: EnvSpec | None = None
        self.render_mode = render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space
        self._blank = info_of(with_masks(self.batch.blank, np.ones(1, np.bool_), complete=True), 0)

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium made this environment; None for one that was made without it."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        check_time_limit(spec, self.scenario)
        self._spec = spec

    @property
    def scenario(self) -> Scenario:
        """As validated."""
        return self.batch.scenario

    @property
    def episode(self) -> Episode | None:
        """The current episode; None before the first reset."""
        return self.batch.episodes[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], Info]:
        """Start a new episode.

        Args:
            seed: makes it, and those that follow it, repeatable; without one the generator goes on.
            options: `{"split": ...}` sets where this and later episodes are drawn from.

        Raises:
            SpecError: unknown option or split, or no such seed.
            ClosedEnvironmentError: the environment is closed.
        """
        _check_usable(self.batch)
        parse_reset_options(options, 1, self.batch.split, SINGLE_RESET_OPTIONS)
        parse_seeds(seed, 1)
        super().reset(seed=seed)
        self.batch.generators[0] = self.np_random
        observations, infos = self.batch.reset(options=options)
        return observations[0], self._info(infos)

    def step(self, action: NDArray[Any] | Controls | Setpoints) -> tuple[NDArray[Any], float, bool, bool, Info]:
        """Advance by one decision; see `FleetVectorEnv.step`.

        Args:
            action: `[A]`, or the `Controls` or `Setpoints` of one fleet, `[1, ...]` each.

        Raises:
            ValueError: an action of the wrong shape, or with NaN.
            RuntimeError: the episode has ended, or none was started.
            ClosedEnvironmentError: the environment is closed.
        """
        _check_usable(self.batch, begun=True)
        if self.batch.ended:
            raise RuntimeError("the episode has ended; reset the environment before the next step")
        if not isinstance(action, (Controls, Setpoints)):
            action = checked_action(action, self.action_space.shape or ())[None]
        observations, rewards, terminations, truncations, infos = self.batch.step(action)
        return observations[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), self._info(infos)

    def render(self) -> Any:
        """Text for `ansi`, a picture `[height, width, 3]` of uint8 for `rgb_array`, None without a render mode."""
        _check_usable(self.batch, begun=self.render_mode is not None)
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """End the use of the environment; a later step, reset or render raises `ClosedEnvironmentError`."""
        self.batch.close()
        super().close()

    def request_log(self) -> RequestLog:
        """What has become of the requests of the current episode (`episode.requests`)."""
        return self.batch.request_log(0)

    def ledger(self) -> Ledger:
        """What each layer has cost and added in the current episode; see `docs/ledger.md`."""
        return self.batch.ledger(0)

    def get_state(self) -> dict[str, Any]:
        """See `FleetVectorEnv.get_state`."""
        return self.batch.get_state()

    def set_state(self, state: Mapping[str, Any]) -> NDArray[Any]:
        """See `FleetVectorEnv.set_state`; `[D]`."""
        observations = self.batch.set_state(state)
        self._np_random = self.batch.generators[0]
        observation: NDArray[Any] = observations[0]
        return observation

    def snapshot(self) -> BatchSnapshot:
        """Hold the fleet as it is now; see `FleetVectorEnv.snapshot`."""
        return self.batch.snapshot()

    def restore(self, snapshot: BatchSnapshot) -> NDArray[Any]:
        """See `FleetVectorEnv.restore`; `[D]`."""
        observations = self.batch.restore(snapshot)
        self._np_random = self.batch.generators[0]
        observation: NDArray[Any] = observations[0]
        return observation

    def simulate(
        self,
        plan: Plan,
        horizon: int,
        *,
        then: PolicyPredictor | None = None,
        branches: int | None = None,
        futures: int | Same | Sequence[int | Same] = "same",
        state: Any = None,
    ) -> Simulation:
        """See `FleetVectorEnv.simulate`; arrays `[1, B, F]`."""
        _check_usable(self.batch, begun=True)
        return self.batch.simulate(plan, horizon, then=then, branches=branches, futures=futures, state=state)

    def _info(self, infos: Info) -> Info:
        """What the batch of one tells, over zeros where it has nothing to tell."""
        blank = {name: dict(value) if isinstance(value, dict) else value for name, value in self._blank.items()}
        return blank | info_of(infos, 0)


def _check_usable(batch: FleetVectorEnv, begun: bool = False) -> None:
    """Say in terms of one environment what `FleetVectorEnv` would say of many."""
    if batch.closed:
        raise ClosedEnvironmentError("the environment is closed; make a new one")
    if begun and batch.episodes[0] is None:
        raise RuntimeError("reset the environment before the first step")
