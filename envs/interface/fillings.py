"""Fillings: how the values of a segment's entries become a control, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

ROUNDED_UP_FROM = 1e-4
"""Part of a replica from which the engines round `awake_fraction` up."""


class Filling(Protocol):
    """How the values of a segment's entries, `[N, n]`, become a control `[N, ...]`, and back."""

    def fill(self, values: Float64Array) -> Float64Array | None:
        """The control, `[N, ...]`; None where the scenario has nothing to set."""

    def pick(self, control: Float64Array | None) -> Float64Array:
        """The values, `[N, n]`, whose `fill` is `control`, or comes nearest to it."""


def _run_of(columns: Sequence[int]) -> slice | list[int]:
    """The columns, as a slice where each follows the one before: NumPy fills a slice in half of the time."""
    chosen = list(columns)
    first = chosen[0] if chosen else 0
    return slice(first, first + len(chosen)) if chosen == list(range(first, first + len(chosen))) else chosen


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
    """The values belong to some sites, pools or classes; the others rest.

    Args:
        chosen: indices of those that have an entry.
        size: how many sites, pools or classes there are.
        rest: value of the others, and of all where a control is left out: one number, or one for each, `[size]`.
        always: whether there is a control even where `chosen` is empty.
        inner: filling from values to the numbers of the chosen ones; the values themselves by default.
    """

    def __init__(
        self,
        chosen: Sequence[int],
        size: int,
        rest: float | Float64Array,
        always: bool = False,
        inner: Filling | None = None,
    ) -> None:
        self._is_left_out = not len(chosen) and not always
        self._columns = _run_of(chosen)
        self._rest = np.full(size, rest, np.float64)
        self._inner = Whole() if inner is None else inner

    def fill(self, values: Float64Array) -> Float64Array | None:
        """See `Filling.fill`."""
        if self._is_left_out:
            return None
        control = np.empty((len(values), self._rest.size))
        control[:] = self._rest
        control[:, self._columns] = self._inner.fill(values)
        return control

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`."""
        control = self._rest[None] if control is None else control
        return self._inner.pick(control[:, self._columns])


class Replicas:
    """Numbers of replicas, not rounded, from 0 to all; entries around 0 mean the usual number.

    A value is the entry `a` itself. From `a = -dead` to `a = dead` an entry means the usual number of a pool. Below,
    the number falls in a straight line to 0 at `a = -dead - span`; above, it rises to all replicas at `a = dead +
    span`.

    Args:
        usual: replicas of each pool in the middle, `[P]`.
        replicas: all of them, `[P]`.
        dead, span: see above.
    """

    def __init__(self, usual: NDArray[np.int64], replicas: NDArray[np.int64], dead: float, span: float) -> None:
        self._usual, self._replicas = usual.astype(float), replicas.astype(float)
        self._more = self._replicas - self._usual
        self._dead, self._span = dead, span

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        below = np.minimum(values + self._dead, 0.0) / self._span
        above = np.minimum(np.maximum((values - self._dead) / self._span, 0.0), 1.0)
        replicas: Float64Array = self._usual * np.maximum(1.0 + below, 0.0) + self._more * above
        return replicas

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`."""
        assert control is not None
        less = control / np.maximum(self._usual, 1.0) - 1.0
        more = (np.minimum(control, self._replicas) - self._usual) / np.maximum(self._more, 1.0)
        entry = np.where(less < 0.0, self._span * less - self._dead, self._dead + self._span * more)
        return np.where(np.minimum(control, self._replicas) == self._usual, 0.0, entry)


class AwakeShares(Replicas):
    """`Replicas`, rounded to whole ones, as shares of all of them."""

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        shares: Float64Array = np.rint(super().fill(values)) / self._replicas
        return shares

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`; like the engines, a part of a replica counts as a whole one."""
        assert control is not None
        return super().pick(np.ceil(control * self._replicas - ROUNDED_UP_FROM))


class Exponential:
    """Values are logarithms to the base ten."""

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        numbers: Float64Array = 10.0**values
        return numbers

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`."""
        assert control is not None
        return np.log10(np.maximum(control, np.finfo(np.float64).tiny))


class Pairs:
    """The values belong to some pairs of a class and a pool; the others are 0.

    Args:
        route_class, route_pool: indices of the class and the pool of every entry.
        shape: `[K, P]`.
    """

    def __init__(self, route_class: IntArray, route_pool: IntArray, shape: tuple[int, ...]) -> None:
        self._route_class, self._route_pool, self._shape = route_class, route_pool, shape

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        control = np.zeros((len(values), *self._shape))
        control[:, self._route_class, self._route_pool] = values
        return control

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`."""
        assert control is not None
        return control[:, self._route_class, self._route_pool]


class Limit:
    """A value at its highest means no limit.

    Args:
        highest: of the values, 0 or more, `[K]`.
        inner: filling from values to limits; the values themselves by default.
    """

    def __init__(self, highest: Float64Array, inner: Whole | Exponential | None = None) -> None:
        self._highest = highest
        self._inner = Whole() if inner is None else inner

    def fill(self, values: Float64Array) -> Float64Array:
        """See `Filling.fill`."""
        return np.where(values >= self._highest, np.inf, self._inner.fill(values))

    def pick(self, control: Float64Array | None) -> Float64Array:
        """See `Filling.pick`; no limit becomes twice the highest value, so that float32 cannot round it to a limit."""
        assert control is not None
        values = np.minimum(self._inner.pick(control), self._highest)
        return np.where(np.isinf(control), 2.0 * self._highest, values)


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
