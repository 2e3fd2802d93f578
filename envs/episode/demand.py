"""The requests of an episode, from the streams of a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.envs.layers.agents import client_columns, merge
from tokenfleet.envs.layers.agents.streams import Demand
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.traces.table import NONE

_TOLERANCE = 6
"""Last number of the seeds of what all clients of an episode share, apart from all else."""


@dataclass(frozen=True)
class DrawnStreams:
    """What must be known of the streams of an episode to let them go on.

    Attributes:
        states: the generator's state before each of them was drawn.
        group_bounds: where the numbers of each one's groups begin in the table, and behind the last where they end.
    """

    states: tuple[Any, ...]
    group_bounds: tuple[int, ...]


def merged_requests(
    scenario: Scenario, demands: Sequence[Demand], episode_seed: Sequence[int], client_seed: Sequence[int]
) -> RequestTable:
    """One table of what all streams of a scenario ask for, clients included.

    Args:
        scenario: of the streams.
        demands: of every stream.
        episode_seed: of what holds for all clients of the episode, those of its drawn futures included.
        client_seed: of each client.
    """
    names, streams = list(scenario.classes), list(scenario.workload.values())
    rng = np.random.default_rng([*episode_seed, _TOLERANCE])
    tolerances = {name: cls.price_tolerance for name, cls in scenario.classes.items()}
    factors = {name: spec.draw_factor(rng) for name, spec in tolerances.items() if spec is not None}
    clients = client_columns(client_seed, demands, streams, scenario.classes, scenario.region_weights, factors)
    return merge(demands, [names.index(stream.request_class) for stream in streams], **clients)


def group_bounds(demands: Sequence[Demand]) -> tuple[int, ...]:
    """Where `merge` lets the numbers of each demand's groups begin, and behind the last where they end."""
    nobody = np.array([NONE])
    counts = [int(demand.columns.get("group_id", nobody).max(initial=NONE)) + 1 for demand in demands]
    return tuple(np.cumsum([0, *counts]).tolist())
