"""What an action is made of: segments that own their affine law and bounds.

An entry `a` in [-1, 1] stands for `bias + gain a`, cut to [lowest, highest], in the control's unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.interface.fillings import Filling
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.supervision.setpoints import Setpoints

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

LEAST_GAIN = float(np.finfo(np.float64).tiny)
"""A gain of zero, as of a class without demand, would make NaN of an infinite entry."""


@dataclass(frozen=True)
class Segment:
    """A run of action entries that sets one control.

    Attributes:
        name: of the segment.
        control: the field of `Controls`, or of `Setpoints`, that the segment fills.
        per: what an entry stands for.
        labels: one an entry.
        unit: of the control.
        low, high: what -1 and 1 mean, for people.
        formula: the control from the entry `a`, for people.
        doc: what the control does, one sentence.
        bias, gain: the value of an entry is `bias + gain a`, `[n]`, in `unit`.
        lowest, highest: bounds of the value, `[n]`, in `unit`.
        filling: from values to the control and back.
        first: the segment's first column in an action.
    """

    name: str
    control: str
    per: str
    labels: tuple[str, ...]
    unit: str
    low: str
    high: str
    formula: str
    doc: str
    bias: Float64Array
    gain: Float64Array
    lowest: Float64Array
    highest: Float64Array
    filling: Filling
    first: int = 0

    @property
    def columns(self) -> slice:
        """Where the segment stands in an action."""
        return slice(self.first, self.first + len(self.labels))

    def entries(self, controls: Controls | Setpoints) -> Float64Array:
        """The entries `[N, n]` or `[1, n]` that mean `controls`, cut to [-1, 1]."""
        values = self.filling.pick(getattr(controls, self.control))
        return np.clip((values - self.bias) / np.maximum(self.gain, LEAST_GAIN), -1.0, 1.0)


class SegmentBox:
    """The box of a row of segments.

    Args:
        segments: in order; where each stands in an action is worked out here.

    Attributes:
        table: the segments.
        space: `Box(-1, 1, (A,))`, float32.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        first = np.cumsum([0, *(len(segment.labels) for segment in segments)]).tolist()
        self.table = tuple(replace(segment, first=column) for segment, column in zip(segments, first, strict=False))
        self._fills = [(segment.control, segment.columns, segment.filling.fill) for segment in self.table]
        self._width = self.table[-1].columns.stop
        self.space = Box(-1.0, 1.0, (self._width,), np.float32)
        self._gain = np.maximum(np.concatenate([segment.gain for segment in self.table]), LEAST_GAIN)
        self._bias, self._lowest, self._highest = (
            np.concatenate([getattr(segment, name) for segment in self.table]) for name in ("bias", "lowest", "highest")
        )

    def decode(self, action: NDArray[np.generic]) -> dict[str, Float64Array | None]:
        """What rows `[N, A]` stand for, by name; entries outside [-1, 1] count as the nearer end.

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
        return {control: fill(values[:, columns]) for control, columns, fill in self._fills}

    def encode(self, controls: Controls | Setpoints) -> Float32Array:
        """The action `[N, A]` that means `controls`."""
        action = np.empty((controls.num_envs, self._width), np.float32)
        for part in self.table:
            action[:, part.columns] = part.entries(controls)
        return action
