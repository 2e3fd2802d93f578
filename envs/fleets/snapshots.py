"""Snapshots of fleets, to which the same or other fleets can be set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_metrics import HeldMetrics
from tokenfleet.envs.engine import Snapshot
from tokenfleet.envs.episode.batch import HeldEpisode
from tokenfleet.envs.episode.history import Stretch
from tokenfleet.envs.interface.decisions import Memory
from tokenfleet.envs.layers.agents import Split

Views = tuple[Stretch[NDArray[np.float32]], ...]


@dataclass(frozen=True)
class Bookkeeping:
    """What is known of one fleet outside of its engine.

    Attributes:
        episode: what happens to it, and how far it has come.
        metrics: what that has come to.
        views: what it has seen, for rendering; None where nothing is rendered.
        ended: whether its episode has ended and the next one has not begun.
        memory: what its action remembers.
    """

    episode: HeldEpisode
    metrics: HeldMetrics
    views: Views | None
    ended: bool
    memory: Memory


@dataclass(frozen=True)
class FleetSnapshot:
    """One fleet of an environment between two steps: its engine's state, and the rest."""

    engine: Snapshot
    bookkeeping: Bookkeeping


@dataclass(frozen=True)
class BatchSnapshot:
    """Fleets of an environment between two steps; valid in this process only (`get_state` gives what can be stored).

    Attributes:
        fleets: the fleets, in the order in which they were asked for.
        split: where their next episodes are drawn from.
    """

    fleets: tuple[FleetSnapshot, ...]
    split: Split

    def __len__(self) -> int:
        return len(self.fleets)

    def __reduce__(self) -> Any:
        raise TypeError("a snapshot is valid in this process only; get_state gives what can be stored or sent")
