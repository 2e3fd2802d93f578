"""What a policy sets: one number in [-1, 1] for each knob, and its meaning in `Controls`.

An action is a row of segments, one a control (`envs.interface.knobs`). The middle of the box is a sane fleet:
capacity-weighted routing, everything awake, everything admitted, middle clocks, batteries at rest, calls that weigh
waiting and computing alike, prices half-way. Exploration noise around the middle neither puts replicas to sleep (that
takes a < -0.5) nor cuts a class off.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.interface.knobs import SEGMENTS
from tokenfleet.envs.interface.segments import LEAST_GAIN, Segment
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class Action(Protocol):
    """What the environments ask of an action; bring your own to give a policy other knobs."""

    @property
    def space(self) -> Box:
        """The space of one environment's action."""

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Rows `[N, A]` to controls in physical units; raises `ValueError` on NaN."""


class FleetAction:
    """The default action; see the module.

    Args:
        scenario: fixes sizes, legal routes, clock floors and rates.

    Attributes:
        space: `Box(-1, 1, (A,))`, float32.
        table: the segments, in order.
        capacity_share: what each pool could serve of each class alone, normalised over pools, `[K, P]`; 0 where a pool
            does not serve a class.
    """

    def __init__(self, scenario: Scenario) -> None:
        capacity = capacity_rps(scenario)
        self.capacity_share = capacity / capacity.sum(axis=1, keepdims=True)
        self.table = self._lay_out([make(scenario, self.capacity_share) for make in SEGMENTS])
        self._fills = [(segment.control, segment.columns, segment.filling.fill) for segment in self.table]
        self._width = self.table[-1].columns.stop
        self.space = Box(-1.0, 1.0, (self._width,), np.float32)
        self._gain = np.maximum(np.concatenate([segment.gain for segment in self.table]), LEAST_GAIN)
        self._bias, self._lowest, self._highest = (
            np.concatenate([getattr(segment, name) for segment in self.table]) for name in ("bias", "lowest", "highest")
        )

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Controls that rows `[N, A]` stand for; entries outside [-1, 1] count as the nearer end.

        Raises:
            ValueError: wrong shape, or NaN.
        """
        shape = np.shape(action)
        if len(shape) != 2 or shape[1] != self._width:
            raise ValueError(f"actions must have shape [N, {self._width}] (got {list(shape)})")
        values: Float64Array = np.multiply(action, self._gain, dtype=np.float64)
        values += self._bias
        # Every control rises with its entry: cutting it here cuts the entry to [-1, 1], infinite ones too.
        np.maximum(values, self._lowest, out=values)
        np.minimum(values, self._highest, out=values)
        if math.isnan(np.add.reduce(values, axis=None)):
            where = np.argwhere(np.isnan(np.asarray(action, dtype=np.float64))).tolist()
            raise ValueError(f"actions hold NaN in entries {where[:5]} ([env, entry])")
        return Controls(**{control: fill(values[:, columns]) for control, columns, fill in self._fills})  # type: ignore[arg-type]

    def encode(self, controls: Controls) -> Float32Array:
        """The action `[N, A]` that means `controls`; `decode` of it gives them back up to float32.

        What the box cannot say becomes the nearest it can: a class whose shares are all 0 is routed by capacity, and a
        rate above four times the class's mean is no limit.
        """
        action = np.empty((controls.num_envs, self._width), np.float32)
        for part in self.table:
            action[:, part.columns] = part.entries(controls)
        return action

    @staticmethod
    def _lay_out(segments: list[Segment]) -> tuple[Segment, ...]:
        first = np.cumsum([0, *(len(segment.labels) for segment in segments)]).tolist()
        return tuple(replace(segment, first=column) for segment, column in zip(segments, first, strict=False))
