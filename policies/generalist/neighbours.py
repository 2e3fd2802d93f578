"""Which site, pools and classes an entry of the action is about: its own, and the mean of its neighbours.

An entry of a site is about the site, its pools and the classes that they serve; one of a pool about the pool, its site
and its classes; one of a class about the class, the pools that serve it and their sites; one of a route about its
class, its pool and the pool's site.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.generalist.entities import Shown

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """Weights of the means, one row an entry; each row sums to 1, or to 0 where there is no neighbour.

    Attributes:
        sites: `[A, S]`.
        pools: `[A, P]`.
        classes: `[A, K]`.
    """

    sites: Float64Array
    pools: Float64Array
    classes: Float64Array

    @classmethod
    def of_entries(cls, scenario: Scenario, table: tuple[Segment, ...]) -> Neighbours:
        """Those of every entry of the action, in order."""
        sites, pools, classes = list(scenario.sites), list(scenario.pools), list(scenario.classes)
        stands = np.array([[pool.site == site for pool in scenario.pools.values()] for site in sites])  # [S, P]
        serves = scenario.route_mask  # [K, P]
        rows: list[tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]] = []
        for segment in table:
            for label in segment.labels:
                if segment.per.startswith("site"):
                    at = np.arange(len(sites)) == sites.index(label)
                    here = stands[sites.index(label)]
                    asks = serves[:, here].any(axis=1)
                elif segment.per.startswith("pool"):
                    here = np.arange(len(pools)) == pools.index(label)
                    at, asks = stands[:, here].any(axis=1), serves[:, here].any(axis=1)
                elif segment.per.startswith("class and pool"):
                    name, _, pool = label.rpartition(" to ")
                    here = np.arange(len(pools)) == pools.index(pool)
                    at, asks = stands[:, here].any(axis=1), np.arange(len(classes)) == classes.index(name)
                else:
                    asks = np.arange(len(classes)) == classes.index(label)
                    here = serves[classes.index(label)]
                    at = stands[:, here].any(axis=1)
                rows.append((at, here, asks))
        return cls(*(_means(np.array(column)) for column in zip(*rows, strict=True)))

    def about(self, shown: Shown) -> list[Float64Array]:
        """Features of what every entry is about, one `[N, A]` a feature: of its site, its pools, then its classes."""
        found = []
        for weights, rows in zip((self.sites, self.pools, self.classes), shown, strict=True):
            for feature in range(rows.shape[2]):
                found.append(_weighted(rows[:, :, feature], weights))
        return found


def _weighted(values: Float64Array, weights: Float64Array) -> Float64Array:
    """`values [N, n] @ weights.T [n, A]`, added one by one: a fleet's sums do not depend on those beside it."""
    total = np.zeros((len(values), len(weights)))
    for place in range(values.shape[1]):
        total += values[:, place, None] * weights[:, place]
    return total


def _means(members: NDArray[np.bool_]) -> Float64Array:
    counts = members.sum(axis=1, keepdims=True)
    means: Float64Array = members / np.maximum(counts, 1)
    return means
