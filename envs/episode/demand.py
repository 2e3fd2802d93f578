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


@dataclass(frozen=True)
class DrawnStreams:
    """What must be known of the streams of an episode to let them go on.

    Attributes:
        states: the generator's state before each of them was drawn.
        group_bounds: where the numbers of each one's groups begin in the table, and behind the last where they end.
    """

    states: tuple[Any, ...]
    group_bounds: tuple[int, ...]


def merged_requests(scenario: Scenario, demands: Sequence[Demand], client_seed: Sequence[int]) -> RequestTable:
    """One table of what all streams of a scenario ask for, clients included."""
    names, streams = list(scenario.classes), list(scenario.workload.values())
    clients = client_columns(client_seed, demands, streams, scenario.classes, scenario.region_weights)
    return merge(demands, [names.index(stream.request_class) for stream in streams], **clients)


def group_bounds(demands: Sequence[Demand]) -> tuple[int, ...]:
    """Where `merge` lets the numbers of each demand's groups begin, and behind the last where they end."""
    nobody = np.array([NONE])
    counts = [int(demand.columns.get("group_id", nobody).max(initial=NONE)) + 1 for demand in demands]
    return tuple(np.cumsum([0, *counts]).tolist())
