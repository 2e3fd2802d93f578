"""The episodes of N fleets: how each was drawn, how far it has come, and how to bring it back."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.episode.history import History, Stretch
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

EPISODE_SEEDS = 2**63


def tariff_of(episode: Episode) -> Float64Array:
    """Price [USD/MWh] at every site, then carbon intensity [g/kWh], of every tick, `[H, 2 S]`."""
    return np.concatenate([episode.price_usd_per_mwh, episode.carbon_g_per_kwh], axis=1)


@dataclass(frozen=True)
class HeldEpisode:
    """An episode under way, and where the next one comes from; see `Episodes` for the attributes."""

    current: Episode | None
    seed: int
    split: Split
    generator: np.random.Generator | None
    generator_seed: int
    tick: int
    controls: tuple[Stretch[Controls], ...]
    tariff: Float64Array


class Episodes:
    """The current episode of each of N fleets.

    Args:
        scenario: that they are drawn from.
        num_envs: N.

    Attributes:
        current: the episodes, None before the first.
        seeds: seed of each current episode.
        splits: split of each current episode.
        generators: source of each fleet's next episode seed, None until it is needed.
        generator_seeds: what the generators were seeded with, -1 if unknown.
        tick: ticks since each episode began, `[N]`.
        controls: the controls of those ticks.
    """

    def __init__(self, scenario: Scenario, num_envs: int) -> None:
        self._scenario = scenario
        self.current: list[Episode | None] = [None] * num_envs
        self.seeds = [0] * num_envs
        self.splits: list[Split] = ["train"] * num_envs
        self.generators: list[np.random.Generator | None] = [None] * num_envs
        self.generator_seeds = [-1] * num_envs
        self.tick = np.zeros(num_envs, np.int64)
        self.controls = History[Controls](num_envs)
        self._every = np.arange(num_envs)
        # Price [USD/MWh] at every site, then carbon intensity [g/kWh], for every tick of every fleet's episode.
        self._tariff = np.zeros((num_envs, scenario.horizon_ticks, 2 * len(scenario.sites)))

    def generator(self, index: int) -> np.random.Generator:
        """The generator of fleet `index`; one that was never seeded is seeded by chance."""
        generator = self.generators[index]
        return self.seed(index, None) if generator is None else generator

    def seed(self, index: int, seed: int | None) -> np.random.Generator:
        """Give fleet `index` a new generator."""
        generator, self.generator_seeds[index] = seeding.np_random(seed)
        self.generators[index] = generator
        return generator

    def draw(self, index: int, split: Split) -> Episode:
        """Draw the next episode of fleet `index` and put the fleet at its start."""
        return self.start(index, int(self.generator(index).integers(EPISODE_SEEDS)), split)

    def start(self, index: int, episode_seed: int, split: Split) -> Episode:
        """Put fleet `index` at the start of a certain episode."""
        episode = sample_episode(self._scenario, episode_seed, split)
        self.current[index] = episode
        self.seeds[index], self.splits[index] = episode_seed, split
        self._tariff[index] = tariff_of(episode)
        return self.rewind(index)

    def rewind(self, index: int) -> Episode:
        """Put fleet `index` back at the start of its episode."""
        self.tick[index] = 0
        self.controls.begin(index)
        return self.of(index)

    def of(self, index: int) -> Episode:
        """The episode of fleet `index`.

        Raises:
            RuntimeError: it has none yet.
        """
        episode = self.current[index]
        if episode is None:
            raise RuntimeError(f"fleet {index} was never reset")
        return episode

    def tariff(self) -> Float64Array:
        """Price [USD/MWh] at every site, then carbon intensity [g/kWh], of the tick of every fleet, `[N, 2 S]`.

        At the end of an episode, those of its last tick.
        """
        tariff: Float64Array = self._tariff[self._every, np.minimum(self.tick, self._tariff.shape[1] - 1)]
        return tariff

    def advance(self, controls: Controls, moving: NDArray[np.bool_] | None) -> None:
        """Count a tick of the fleets that move, `[N]`; None for all."""
        self.controls.append(controls)
        if moving is None:
            self.tick += 1
            return
        self.tick += moving
        for index in np.flatnonzero(~moving & (self.tick == 0)).tolist():
            self.controls.begin(index)  # they stand at the start

    def hold(self, index: int) -> HeldEpisode:
        """How far the episode of fleet `index` has come, for `resume`."""
        return HeldEpisode(
            current=self.current[index],
            seed=self.seeds[index],
            split=self.splits[index],
            generator=deepcopy(self.generators[index]),
            generator_seed=self.generator_seeds[index],
            tick=int(self.tick[index]),
            controls=self.controls.past(index),
            tariff=self._tariff[index].copy(),
        )

    def resume(self, index: int, held: HeldEpisode) -> None:
        """Put fleet `index` where a fleet was when `hold` was called for it."""
        self.current[index] = held.current
        self.seeds[index], self.splits[index] = held.seed, held.split
        self.generators[index], self.generator_seeds[index] = deepcopy(held.generator), held.generator_seed
        self.tick[index] = held.tick
        self.controls.resume(index, held.controls)
        self._tariff[index] = held.tariff

    def get_state(self, index: int) -> dict[str, Any]:
        """What `set_state` needs: how the episode of fleet `index` was drawn, and the controls since, `[T, ...]`."""
        controls = self.controls.of(index)[: int(self.tick[index])]  # it stood still afterwards
        return {
            "episode_seed": self.seeds[index],
            "split": self.splits[index],
            "seed": self.generator_seeds[index],
            "generator": self.generator(index).bit_generator.state,
            "controls": Controls.stack(controls).given() if controls else {},
        }

    def set_state(self, index: int, state: dict[str, Any]) -> Episode:
        """Put fleet `index` at the start of the episode that `get_state` spoke of; its controls are not applied yet."""
        self.seed(index, 0).bit_generator.state = state["generator"]
        self.generator_seeds[index] = state["seed"]
        return self.start(index, state["episode_seed"], state["split"])
