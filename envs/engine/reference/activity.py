"""Activity of a replica, and the records that its owner collects: states, the running batch, events, energy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from tokenfleet.envs.engine.reference.request import Request
from tokenfleet.envs.engine.reference.stopwatch import Stopwatch


class State(Enum):
    """What a replica is doing with its power."""

    AWAKE = "takes requests"
    DRAINING = "finishes what it has, then sleeps"
    SWITCHING = "finishes what it has, then loads its pool's other model"
    ASLEEP = "suspended"
    WAKING = "loads its model"
    STANDBY = "keeps its weights at hand"
    RESUMING = "takes its weights back"
    PREPARING = "loads its model to stand by"
    DARK = "without power"
    FAILED = "broken, under repair"


@dataclass
class Iteration:
    """The batch that is running."""

    end: Stopwatch
    power_w: float
    decoding: list[Request]
    chunks: list[tuple[Request, int]]

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.end.now_s


@dataclass
class Events:
    """What one replica has done since its owner last looked.

    Attributes:
        counts: tokens and preemptions by the names of their outcomes.
        first_tokens, completed, handed_off, expired: requests, most with the time at which it happened.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first_tokens: list[Request] = field(default_factory=list)
    completed: list[tuple[Request, float]] = field(default_factory=list)
    handed_off: list[tuple[Request, float]] = field(default_factory=list)
    expired: list[tuple[Request, float]] = field(default_factory=list)


@dataclass
class BoardEnergy:
    """Energy of a replica's boards, by their activity [J]."""

    busy_j: float = 0.0
    idle_j: float = 0.0
    asleep_j: float = 0.0
