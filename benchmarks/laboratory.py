"""Runs plans in episodes and tells the time that this takes: for `python -m benchmarks.time_to_win`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, measured_scale, outcomes
from tokenfleet.policies.heuristics.linear.features import FeatureScale

Float64Array = NDArray[np.float64]


class Laboratory:
    """Runs plans in episodes, and tells the time that this takes.

    Args:
        scenario: of the fleets.
        workers: that run episodes.
        seed: of the training episodes.

    Attributes:
        episodes: of training that have been run.
        scale: of the features.
    """

    def __init__(self, scenario: Scenario, workers: Workers, seed: int) -> None:
        self.scenario, self._workers, self._rng = scenario, workers, np.random.default_rng(seed)
        workers.map(abs, [0] * workers.count)  # the clocks begin when all processes have started
        self._began_s, self._own_s, self._theirs_s = time.monotonic(), time.process_time(), 0.0
        self.episodes = 0
        self.scale: FeatureScale | None = None

    def clocks_s(self) -> tuple[float, float]:
        """Time on the wall, and processor time of this process and, in each round, of the slowest worker [s]."""
        return time.monotonic() - self._began_s, time.process_time() - self._own_s + self._theirs_s

    def measure_scale(self, episodes: int) -> FeatureScale:
        """The features' scale, measured in training episodes."""
        self.episodes += episodes
        self.scale = measured_scale(RolloutSetting(self.scenario, "train", self._fresh(episodes)))
        return self.scale

    def train(self, plans: Plans, episodes: int) -> Float64Array:
        """Mean value of plans in the same new training episodes, `[B]` [USD]."""
        self.episodes += len(plans) * episodes
        share, seeds = -(-len(plans) // self._workers.count), self._fresh(episodes)
        parts = [(plans.part(slice(first, first + share)), seeds) for first in range(0, len(plans), share)]
        values: Float64Array = np.concatenate(self._values("train", parts)).mean(axis=1)
        return values

    def validate(self, plans: Plans, seeds: Sequence[int]) -> Float64Array:
        """Value of plans in episodes of the validation split, `[B, E]` [USD]."""
        share = -(-len(seeds) // self._workers.count)
        parts = [(plans, tuple(seeds[first : first + share])) for first in range(0, len(seeds), share)]
        return np.concatenate(self._values("validation", parts), axis=1)

    def _fresh(self, episodes: int) -> tuple[int, ...]:
        return tuple(self._rng.integers(2**31, size=episodes).tolist())

    def _values(self, split: Split, parts: Sequence[tuple[Plans, tuple[int, ...]]]) -> list[Float64Array]:
        done = self._workers.map(partial(_live, self.scenario, split, self.scale), parts)
        if self._workers.count > 1:
            self._theirs_s += max(taken_s for _, taken_s in done)
        return [values for values, _ in done]


def _live(
    scenario: Scenario, split: Split, scale: FeatureScale | None, part: tuple[Plans, tuple[int, ...]]
) -> tuple[Float64Array, float]:
    """Value of some plans in some episodes, `[B, E]`, and the processor time that it took [s]."""
    plans, seeds = part
    began_s = time.process_time()
    with Workers(1) as alone:
        values = outcomes(RolloutSetting(scenario, split, seeds, scale), plans, alone)[VALUE]
    return values, time.process_time() - began_s
