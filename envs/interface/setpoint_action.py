"""The action `setpoints`: what a human supervisor sets, held by an inner loop at every tick.

One number in [-1, 1] for each entry (`envs.interface.setpoint_segments`). The middle of the box is a careful operator:
power just under the cap, shortest backlogs, as many replicas awake as fit the contract, nothing refused below a backlog
of `LIMIT_S`, batteries at their initial charge. Noise around the middle changes little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import SegmentBox
from tokenfleet.envs.interface.setpoint_segments import SEGMENTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.supervision.loop import InnerLoop, LoopState
from tokenfleet.envs.supervision.setpoints import Setpoints

Float32Array = NDArray[np.float32]


class SetpointMemory(NamedTuple):
    """Memory of N fleets between ticks.

    Attributes:
        clock, awake, dwell_s, variant: see `LoopState`.
        entries: the last set-points as an action, `[N, A]`; 0 before the first.
    """

    clock: NDArray[np.float64]
    awake: NDArray[np.float64]
    dwell_s: NDArray[np.float64]
    variant: NDArray[np.float64]
    entries: NDArray[np.float64]


class SetpointAction:
    """See the module.

    Args:
        scenario: fixes sizes, legal routes, and which set-points there are.

    Attributes:
        space: `Box(-1, 1, (A,))`, float32.
        table: the segments, in order.
        loop: holds the set-points.
        decide_every: ticks for which a decision holds unless the environment is told otherwise.
        record: what `decode` gives.
    """

    decide_every = 5
    record = Setpoints

    def __init__(self, scenario: Scenario) -> None:
        self.loop = InnerLoop(scenario)
        self._box = SegmentBox([make(scenario) for make in SEGMENTS])
        self.table, self.space = self._box.table, self._box.space

    def decode(self, action: NDArray[np.generic]) -> Setpoints:
        """Set-points that rows `[N, A]` stand for; entries outside [-1, 1] count as the nearer end.

        Raises:
            ValueError: wrong shape, or NaN.
        """
        return Setpoints(**self._box.decode(action))  # type: ignore[arg-type]

    def encode(self, setpoints: Setpoints) -> Float32Array:
        """The action `[N, A]` that means `setpoints`, or comes nearest to them."""
        return self._box.encode(setpoints)

    def check(self, setpoints: Setpoints) -> None:
        """Refuse set-points of another fleet, or outside of their bounds; see `Setpoints.check`."""
        setpoints.check({"N": setpoints.num_envs, **self.loop.sizes})

    def initial_memory(self, num_envs: int) -> SetpointMemory:
        """The memory with which an episode begins."""
        entries = np.zeros((num_envs, self.space.shape[0]))
        return SetpointMemory(*self.loop.initial_state(num_envs), entries)

    def decided(self, setpoints: Setpoints, memory: SetpointMemory) -> SetpointMemory:
        """The memory once `setpoints` have been decided on."""
        return memory._replace(entries=self.encode(setpoints).astype(np.float64))

    def controls(self, setpoints: Setpoints, view: Record, memory: SetpointMemory) -> tuple[Controls, SetpointMemory]:
        """Controls of the coming tick; see `InnerLoop.controls`."""
        controls, state = self.loop.controls(setpoints, view, LoopState(*memory[:-1]))
        return controls, SetpointMemory(*state, memory.entries)
