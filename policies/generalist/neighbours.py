"""Which site, pools and classes an entry of the action is about: its own, and the mean of its neighbours.

An entry of a site is about the site, its pools and the classes that they serve; one of a pool about the pool, its site
and its classes; one of a class about the class, the pools that serve it and their sites; one of a route about its
class, its pool and the pool's site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.generalist.entities import Shown

BoolArray = NDArray[np.bool_]
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
        """The neighbours of every entry of the action, in order."""
        sites, pools, classes = list(scenario.sites), list(scenario.pools), list(scenario.classes)
        stands = np.array([[pool.site == site for pool in scenario.pools.values()] for site in sites])  # [S, P]
        serves = scenario.route_mask  # [K, P]

        def members(segment: Segment, label: str) -> tuple[BoolArray, BoolArray, BoolArray]:
            of = subject(segment, label)
            if "site" in of:
                here = stands[sites.index(of["site"])]
                return _one(sites, label), here, _any(serves, here)
            if "class" not in of:
                here = _one(pools, of["pool"])
                return _any(stands, here), here, _any(serves, here)
            here = _one(pools, of["pool"]) if "pool" in of else serves[classes.index(of["class"])]
            return _any(stands, here), here, _one(classes, of["class"])

        rows = [members(segment, label) for segment in table for label in segment.labels]
        return cls(*(_means(np.array(column)) for column in zip(*rows, strict=True)))

    def about(self, shown: Shown) -> list[Float64Array]:
        """Features of what every entry is about, one `[N, A]` a feature: of its site, its pools, then its classes."""
        found = []
        for weights, rows in zip((self.sites, self.pools, self.classes), shown, strict=True):
            for feature in range(rows.shape[2]):
                found.append(_weighted(rows[:, :, feature], weights))
        return found


def subject(segment: Segment, label: str) -> dict[str, str]:
    """Whom an entry of the action sets something for: a `site`, a `pool`, a `class`, or a class and a pool, by name."""
    if segment.per.startswith("class and pool"):
        name, _, pool = label.rpartition(" to ")
        return {"class": name, "pool": pool}
    kind = next((kind for kind in ("site", "pool") if segment.per.startswith(kind)), "class")
    return {kind: label}


def _one(names: Sequence[str], name: str) -> BoolArray:
    """True for this name alone, `[n]`."""
    return np.array([other == name for other in names])


def _any(of_pools: BoolArray, here: BoolArray) -> BoolArray:
    """Which rows of `[n, P]` have at least one of the pools `here`, `[P]`."""
    found: BoolArray = of_pools[:, here].sum(axis=1) > 0
    return found


def _weighted(values: Float64Array, weights: Float64Array) -> Float64Array:
    """`values [N, n] @ weights.T [n, A]`, added one by one: a fleet's sums do not depend on those beside it."""
    total = np.zeros((len(values), len(weights)))
    for place in range(values.shape[1]):
        total += values[:, place, None] * weights[:, place]
    return total


def _means(members: BoolArray) -> Float64Array:
    counts = members.sum(axis=1, keepdims=True)
    means: Float64Array = members / np.maximum(counts, 1)
    return means
