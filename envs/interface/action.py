"""What a policy sets: rows of numbers in [-1, 1], and what they mean in `Controls`.

An action is a row of segments, one for each control (`envs.interface.control_segments`). The middle of the box is a
sane fleet: capacity-weighted routing, as many replicas awake as fit the contract, everything admitted, middle clocks,
batteries at rest, waiting and computing weighed alike, prices half-way. Exploration noise around the middle neither
puts replicas to sleep (that takes a < -0.6) nor cuts a class off.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.interface.control_segments import SEGMENTS
from tokenfleet.envs.interface.segments import SegmentBox
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class Action(Protocol):
    """What the environments ask of an action; bring your own to let a policy set other things."""

    @property
    def space(self) -> Box:
        """The space of one environment's action."""

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Rows `[N, A]` to controls in physical units; raises `ValueError` on NaN."""


@runtime_checkable
class Supervises(Protocol):
    """An action whose decisions a loop holds: the loop makes new controls from a decision at every tick.

    `decode` gives a `record` instead of `Controls`. The loop's memory is arrays whose first axis is the fleet.

    Attributes:
        record: type of what `decode` gives; it has `num_envs`.
        decide_every: ticks for which a decision holds unless the environment is told otherwise.
    """

    record: type[Any]
    decide_every: int

    @property
    def space(self) -> Box:
        """The space of one environment's action."""

    def decode(self, action: NDArray[np.generic]) -> Any:
        """Rows `[N, A]` to a `record`; raises `ValueError` on NaN."""

    def check(self, decision: Any) -> None:
        """Refuse a `record` of another fleet, or outside of its bounds; raises `SpecError`."""

    def initial_memory(self, num_envs: int) -> tuple[NDArray[Any], ...]:
        """The memory with which an episode begins."""

    def decided(self, decision: Any, memory: Any) -> Any:
        """The memory once a decision has been taken; `memory` is not changed in place."""

    def controls(self, decision: Any, view: Record, memory: Any) -> tuple[Controls, Any]:
        """Controls of N fleets for the coming tick, and the memory after it."""


class FleetAction:
    """The action `direct`, the default; see the module.

    Args:
        scenario: fixes sizes, legal routes, clock floors and rates.

    Attributes:
        space: `Box(-1, 1, (A,))`, float32.
        table: the segments, in order.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._box = SegmentBox([make(scenario) for make in SEGMENTS])
        self.table, self.space = self._box.table, self._box.space

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Controls that rows `[N, A]` stand for; entries outside [-1, 1] count as the nearer end.

        Raises:
            ValueError: wrong shape, or NaN.
        """
        return Controls(**self._box.decode(action))  # type: ignore[arg-type]

    def encode(self, controls: Controls) -> Float32Array:
        """The action `[N, A]` that means `controls`: `decode` gives the same controls back up to float32.

        Controls outside the box become the nearest ones in it: a class whose shares are all 0 is routed by capacity,
        and a rate above four times the class's mean is no limit.
        """
        return self._box.encode(controls)
