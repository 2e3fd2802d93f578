"""What an action is made of: segments that own their affine law and bounds, and fillings that make controls of values.

An entry `a` in [-1, 1] stands for `bias + gain a`, cut to [lowest, highest], in the control's unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.scheduling import Controls

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

LEAST_GAIN = float(np.finfo(np.float64).tiny)
"""A gain of zero, as of a class without demand, would make NaN of an infinite entry."""


class Filling(Protocol):
    """How the values of a segment's entries, `[N, n]`, become a control `[N, ...]`, and back."""

    def fill(self, values: Float64Array) -> Float64Array | None:
        """The control; None where the scenario has nothing to set."""

    def pick(self, control: Float64Array | None) -> Float64Array:
        """The values whose `fill` is `control`, or comes nearest to it."""


@dataclass(frozen=True)
class Segment:
    """A run of action entries that sets one control.

    Attributes:
        name: of the segment.
        control: the field of `Controls` that the segment fills.
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

    def entries(self, controls: Controls) -> Float64Array:
        """The entries `[N, n]` or `[1, n]` that mean `controls`, cut to [-1, 1]."""
        values = self.filling.pick(getattr(controls, self.control))
        return np.clip((values - self.bias) / np.maximum(self.gain, LEAST_GAIN), -1.0, 1.0)


class Whole:
    """The values are the control."""

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        return values

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`."""
        assert control is not None
        return control


class Some:
    """The values belong to some sites or classes; the others rest.

    Args:
        chosen: indices of those that have an entry.
        size: how many sites or classes there are.
        rest: value of the others, and of all where nothing was said.
    """

    def __init__(self, chosen: Sequence[int], size: int, rest: float) -> None:
        self._chosen, self._size, self._rest = list(chosen), size, rest

    def fill(self, values: Float64Array) -> Float64Array | None:
        """See `Filling.fill`."""
        if not self._chosen:
            return None
        control = np.full((len(values), self._size), self._rest)
        control[:, self._chosen] = values
        return control

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`."""
        if control is None:
            return np.full((1, len(self._chosen)), self._rest)
        return control[:, self._chosen]


class Limit:
    """A value at its highest means no limit.

    Args:
        highest: of the values, `[K]`.
    """

    def __init__(self, highest: Float64Array) -> None:
        self._highest = highest

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        return np.where(values >= self._highest, np.inf, values)

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`; no limit is the far end of the box, so that float32 cannot turn it into one."""
        assert control is not None
        return np.where(np.isinf(control), 2.0 * self._highest, np.minimum(control, self._highest))


class Shares:
    """Weights of the open routes become shares that sum to 1 for each class.

    A class without a choice keeps its one pool; a class whose weights are all 0 is routed by capacity.

    Args:
        capacity_share: what each pool can serve of each class, normalised over pools, `[K, P]`.
        route_class, route_pool: indices of the class and the pool of every entry; a class's entries stand together.
    """

    def __init__(self, capacity_share: Float64Array, route_class: IntArray, route_pool: IntArray) -> None:
        self._shape = capacity_share.shape
        self._route_class, self._route_pool = route_class, route_pool
        self._capacity = capacity_share[route_class, route_pool]
        self._columns = route_class * self._shape[1] + route_pool
        self._fixed = capacity_share.ravel().copy()
        self._fixed[self._columns] = 0.0
        self._served = np.where(capacity_share > 0.0, capacity_share, np.inf)
        _, self._class_start, self._run = np.unique(route_class, return_index=True, return_inverse=True)

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        share = np.empty((len(values), self._fixed.size))
        share[:] = self._fixed
        if values.shape[1]:
            total = np.add.reduceat(values, self._class_start, axis=1)
            if not total.all():
                closed = total[:, self._run] == 0.0
                values = np.where(closed, self._capacity, values)
                total = np.add.reduceat(values, self._class_start, axis=1)
            share[:, self._columns] = values / total.take(self._run, axis=1)
        return share.reshape(-1, *self._shape)

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`; the widest open route of a class stands at the end of the box."""
        assert control is not None
        weight = control / self._served
        widest = weight.max(axis=2, keepdims=True)
        weight = weight / np.where(widest > 0.0, widest, 1.0)
        return weight[:, self._route_class, self._route_pool] * self._capacity
