"""The law of the generalist: entries of the action `setpoints` from what entities show, by one or many sets of weights.

    entry = base + bias_s + own_s . about + pooled_s . context

for an entry of the set-point s. `about` are the features of the entry's own site, pools and classes
(`neighbours.Neighbours`). `context` is a deep set (Zaheer et al. 2017, arXiv 1703.06114): every site, pool and class
goes through the encoder of its kind, and the results are pooled by mean and by maximum. So no weight depends on the
number of entities. `base` holds the set-points of `supervisor`, so weights of zero act as `supervisor` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.policies.generalist.entities import CLASS, POOL, SITE, Shown
from tokenfleet.policies.generalist.neighbours import Neighbours

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

SETPOINTS = (
    "power_share",
    "brake_share",
    "clock_bias",
    "route_bias",
    "route_spread",
    "awake_replicas",
    "backlog_limit",
    "token_price_factor",
)
"""Segments of the action that move. Others stay where `supervisor` has them, because no fleet of training has them."""
FEATURES = {"site": SITE, "pool": POOL, "class": CLASS}
"""By kind of entity, in the order of `Shown`."""
ABOUT = sum(len(names) for names in FEATURES.values())
POOLINGS = 2
"""Mean and maximum."""


class Weights(NamedTuple):
    """Weights of B policies, with H hidden numbers for each entity.

    Attributes:
        bias: `[B, SETPOINTS]`.
        own: `[B, SETPOINTS, ABOUT]`.
        pooled: `[B, SETPOINTS, len(FEATURES) * POOLINGS * H]`.
        encode_site, encode_pool, encode_class: `[B, features + 1, H]`; the last row is the bias.
    """

    bias: Float64Array
    own: Float64Array
    pooled: Float64Array
    encode_site: Float64Array
    encode_pool: Float64Array
    encode_class: Float64Array

    def repeated(self, times: int) -> Weights:
        """Every policy `times` times, its copies side by side."""
        return Weights(*(np.repeat(array, times, axis=0) for array in self))


@dataclass(frozen=True)
class Place:
    """The action of a fleet that the law sets.

    Attributes:
        base: entries of the action for weights of zero, `[A]`.
        neighbours: of the entries.
        columns: of the entries that move, by set-point.
    """

    base: Float64Array
    neighbours: Neighbours
    columns: dict[str, slice]

    @classmethod
    def of_table(cls, base: Float64Array, neighbours: Neighbours, table: tuple[Segment, ...]) -> Place:
        """For an action of these segments."""
        return cls(base, neighbours, {part.name: part.columns for part in table if part.name in SETPOINTS})


def entries_of(weights: Weights, place: Place, shown: Shown) -> Float32Array:
    """Entries of the action, `[N, A]`, cut to [-1, 1]; weights of N policies, or of one for all fleets.

    Sums run over features one by one, so that a fleet's entries do not depend on those beside it.
    """
    about = place.neighbours.about(shown)
    context = _context(weights, shown)
    entries = np.repeat(place.base[None], len(shown.sites), axis=0)
    for setpoint, name in enumerate(SETPOINTS):
        columns = place.columns.get(name)
        if columns is None or columns.start == columns.stop:
            continue
        moved = weights.bias[:, setpoint, None] + np.zeros_like(entries[:, columns])
        for feature, values in enumerate(about):
            moved += weights.own[:, setpoint, feature, None] * values[:, columns]
        for number, value in enumerate(context):
            moved += (weights.pooled[:, setpoint, number] * value)[:, None]
        entries[:, columns] += moved
    cut: Float32Array = np.clip(entries, -1.0, 1.0).astype(np.float32)
    return cut


def _context(weights: Weights, shown: Shown) -> list[Float64Array]:
    """The pooled encodings of all entities, `[N]` each."""
    found: list[Float64Array] = []
    encoders = (weights.encode_site, weights.encode_pool, weights.encode_class)
    for encoder, rows in zip(encoders, shown, strict=True):
        for hidden in range(encoder.shape[2]):
            total = encoder[:, -1, hidden, None] + np.zeros(rows.shape[:2])
            for feature in range(rows.shape[2]):
                total += encoder[:, feature, hidden, None] * rows[:, :, feature]
            encoded = np.tanh(total)
            mean = np.zeros(len(encoded))
            for entity in range(encoded.shape[1]):
                mean += encoded[:, entity]
            found += [mean / encoded.shape[1], encoded.max(axis=1)]
    return found
