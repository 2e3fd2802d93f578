"""Fleet-v0: one fleet as a Gymnasium environment; a batch of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from tokenfleet.envs.arguments import RENDER_MODES
from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.infos import Info, info_of
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.vector import RENDER_FPS, FleetVectorEnv


class FleetEnv(gymnasium.Env[NDArray[Any], NDArray[Any]]):
    """DOC"""

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
        reward: Any = None,
        reward_weights: Mapping[str, float] | None = None,
        render_mode: str | None = None,
        search_paths: Sequence[str | Path] = (),
    ) -> None:
        self.batch = FleetVectorEnv(
            scenario,
            1,
            overrides=overrides,
            split=split,
            engine=engine,
            observation=observation,
            action=action,
            reward=reward,
            reward_weights=reward_weights,
            autoreset_mode=AutoresetMode.DISABLED,
            render_mode=render_mode,
            search_paths=search_paths,
        )
        self.render_mode = render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    @property
    def scenario(self) -> Scenario:
        """The validated world."""
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
            SpecError: unknown option or split.
        """
        super().reset(seed=seed)
        self.batch.generators[0] = self.np_random
        observations, infos = self.batch.reset(options=options)
        return observations[0], info_of(infos, 0)

    def step(self, action: NDArray[Any]) -> tuple[NDArray[Any], float, bool, bool, Info]:
        """Advance by one tick.

        Raises:
            ValueError: an action of the wrong shape, or with NaN.
            RuntimeError: the episode has ended, or none was started.
        """
        observations, rewards, terminations, truncations, infos = self.batch.step(np.asarray(action)[None])
        return observations[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), info_of(infos, 0)

    def render(self) -> Any:
        """Text for `ansi`, a picture `[height, width, 3]` of uint8 for `rgb_array`, None without a render mode."""
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def request_log(self) -> RequestLog:
        """What has become of the requests of the current episode (`episode.requests`)."""
        return self.batch.request_log(0)

    def get_state(self) -> dict[str, Any]:
        """See `FleetVectorEnv.get_state`."""
        return self.batch.get_state()

    def set_state(self, state: Mapping[str, Any]) -> NDArray[Any]:
        """See `FleetVectorEnv.set_state`; `[D]`."""
        observations = self.batch.set_state(state)
        self._share_generator()
        return observations[0]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share_generator()

    def _share_generator(self) -> None:
        """Gymnasium's `np_random` and the batch's generator are one; copies of an environment must keep it so."""
        if self.batch.generators[0] is not None:
            self._np_random = self.batch.generators[0]
