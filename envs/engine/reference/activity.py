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
    """The batch that is running.

    Attributes:
        begin, end: when it begins and ends.
        length_s, energy_j: what its work takes; the times at which it begins and ends are rounded.
        metered_j: what has been counted of the energy.
        decoding, chunks: the sequences that get a token, and the prompts with their tokens to compute.
    """

    begin: Stopwatch
    end: Stopwatch
    length_s: float
    energy_j: float
    decoding: list[Request]
    chunks: list[tuple[Request, int]]
    metered_j: float = 0.0

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.end.now_s

    def meter(self, until_s: float) -> float:
        """What it has taken since the last call up to `until_s` [J]."""
        share = 1.0 if until_s == self.end_s else self.begin.passed_s(until_s) / self.length_s
        before_j, self.metered_j = self.metered_j, share * self.energy_j
        return self.metered_j - before_j


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
