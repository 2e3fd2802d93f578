"""The lowest of several clock rules: how a law that ignores caps is made to follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.rules import CLOCKINGS
from tokenfleet.policies.presets import Preset
from tokenfleet.policies.registry import Choice, build


class LowestClock(Clocking):
    """The lowest clock and the fewest awake replicas of all its rules.

    Args:
        scenario: of the fleet.
        of: clock rules, as `ComposedPolicy` takes them, such as a law that ignores caps, and `feedback`.

    Attributes:
        parts: the table of choices for the rules.
    """

    parts: ClassVar[Mapping[str, Mapping[str, Preset]]] = {"of": CLOCKINGS}

    def __init__(self, scenario: Scenario, of: tuple[Choice, ...] = ("full", "feedback")) -> None:
        self.rules: list[Clocking] = [build(choice, CLOCKINGS, "clocking.lowest", scenario) for choice in of]
        self._sizes = [len(rule.initial_state(1)) for rule in self.rules]
        bounds = [rule.most_replicas for rule in self.rules if rule.most_replicas is not None]
        self.most_replicas = np.min(bounds, axis=0) if bounds else None

    @property
    def reads(self) -> frozenset[str]:
        """See `Rule.reads`."""
        return frozenset().union(*(rule.reads for rule in self.rules))

    def initial_state(self, num_envs: int) -> State:
        """What its rules remember, one after the other."""
        return tuple(array for rule in self.rules for array in rule.initial_state(num_envs))

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        after: list[State] = []
        lowest: Float64Array | None = None
        start = 0
        for rule, size in zip(self.rules, self._sizes, strict=True):
            clock, part = rule.clocks(view, state[start : start + size])
            lowest = clock if lowest is None else np.minimum(lowest, clock)
            after.append(part)
            start += size
        assert lowest is not None
        return lowest, tuple(array for part in after for array in part)
