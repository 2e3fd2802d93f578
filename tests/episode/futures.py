"""Fleets in the middle of an episode, and presents to draw another future from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenfleet.envs.engine import Engine, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode, sample_episode
from tokenfleet.envs.episode.joined_requests import Present
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario


def fleet_at(scenario: Scenario, ticks: int, seed: int = 0, clock: float = 1.0) -> tuple[Engine, Episode]:
    """A fleet some ticks into an episode, at one clock."""
    episode = sample_episode(scenario, seed)
    return played(FleetArrays.from_scenario(scenario), episode, ticks, clock), episode


def played(arrays: FleetArrays, episode: Episode, ticks: int, clock: float = 1.0) -> Engine:
    """A fleet that has lived through the first ticks of an episode, at one clock."""
    fleet = make_engine("native", arrays, 1)
    fleet.reset(0, episode)
    neutral = Controls.neutral(1, arrays.route_mask.astype(float))
    for _ in range(ticks):
        fleet.step(replace(neutral, clock_fraction=np.full_like(neutral.clock_fraction, clock)))
    return fleet


def undisturbed(scenario: Scenario, episode: Episode, tick: int) -> Present:
    """A present in which every call without predecessors has been made in its time, and no call has ended."""
    none = np.zeros(len(episode.requests), np.bool_)
    asked = episode.requests.arrival_s < tick * scenario.tick_s
    return Present(tick, asked, none, np.full(len(none), np.nan), np.empty(0, np.int32))
