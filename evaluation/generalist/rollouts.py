"""Results of sets of weights in the same episodes of a fleet, all side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import SupervisorObservation
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.generator import draw_scenario, load_ranges
from tokenfleet.envs.splits import Split
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.policies.generalist.base import supervisor_entries
from tokenfleet.policies.generalist.entities import Entities
from tokenfleet.policies.generalist.law import Place, Weights, entries_of
from tokenfleet.policies.generalist.neighbours import Neighbours

Float64Array = NDArray[np.float64]


class Fleet(Protocol):
    """A fleet and the episodes that policies meet there."""

    @property
    def split(self) -> Split:
        """Of the episodes."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the episodes, E."""

    def scenario(self) -> Scenario:
        """The fleet itself."""


@dataclass(frozen=True)
class DrawnFleet:
    """A drawn fleet and the episodes that policies meet there.

    Attributes:
        ranges: name or file of what it is drawn from.
        split: of the fleet, and of its episodes.
        index: of the fleet.
        seeds: of the episodes, E.
    """

    ranges: str
    split: Split
    index: int
    seeds: tuple[int, ...]

    def scenario(self) -> Scenario:
        """The fleet itself."""
        return draw_scenario(load_ranges(self.ranges), self.split, self.index)


@dataclass(frozen=True)
class KnownFleet:
    """A scenario and the episodes that policies meet there.

    Attributes:
        known: the scenario.
        split: of the episodes.
        seeds: of the episodes, E.
    """

    known: Scenario
    split: Split
    seeds: tuple[int, ...]

    def scenario(self) -> Scenario:
        """The fleet itself."""
        return self.known


def scores_and_seconds(weights: Weights, fleet: Fleet) -> Float64Array:
    """Scores of B sets of weights in E episodes, and their seconds above a cap, `[2, B, E]`; see `scored`."""
    scenario, episodes, count = fleet.scenario(), len(fleet.seeds), len(weights.bias)
    env = FleetVectorEnv(scenario, episodes * count, split=fleet.split, action="setpoints", observation="supervisor")
    place, reader = place_of(scenario), Entities(scenario)
    model, own = env.observation_model, weights.repeated(episodes)
    assert isinstance(model, SupervisorObservation)
    past, step_s = reader.nothing_past(env.num_envs), np.full(env.num_envs, env.decide_every * scenario.tick_s)
    totals, running = np.zeros((2, env.num_envs)), np.ones(env.num_envs, np.bool_)
    observation, _ = env.reset(seed=list(fleet.seeds) * count)
    while running.any():
        shown, past = reader.read(model.decode(observation), past, step_s)
        observation, _, terminated, truncated, info = env.step(entries_of(own, place, shown))
        ended = running & (terminated | truncated)
        if ended.any():
            totals[:, ended] = [info["episode_metrics"][name][ended] for name in (VALUE, SECONDS)]
        running &= ~ended
    env.close()
    value_usd, above_cap_s = totals.reshape(2, count, episodes)
    return np.array([scored(scenario, value_usd), above_cap_s])


def scored(scenario: Scenario, value_usd: Float64Array) -> Float64Array:
    """Net values of whole episodes, of any shape, as shares of what serving everybody in time would earn."""
    return value_usd / (scenario.reference_revenue_usd_per_s * scenario.horizon_s)


def place_of(scenario: Scenario) -> Place:
    """Where the law acts: on top of what `supervisor` holds, as the policy `generalist` does."""
    table = tuple(SetpointAction(scenario).table)
    return Place.of_table(supervisor_entries(scenario), Neighbours.of_entries(scenario, table), table)
