"""What the entries of an action's segment stand for: pools, request classes, sites, routes, or some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.fillings import Filling, Some
from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class Entries:
    """Some, or all, of the pools, classes or sites of a scenario.

    Attributes:
        per: what an entry stands for, for people.
        labels: one an entry.
        chosen: indices of those that have an entry.
        size: how many pools, classes or sites there are.
    """

    per: str
    labels: tuple[str, ...]
    chosen: tuple[int, ...]
    size: int

    def filling(self, rest: float | Float64Array, always: bool = False, inner: Filling | None = None) -> Some:
        """See `Some`."""
        return Some(self.chosen, self.size, rest, always, inner)


@dataclass(frozen=True)
class Routes:
    """Pairs of a class with a choice and a pool that serves it; a class's pairs stand together.

    Attributes:
        labels: one a pair.
        route_class, route_pool: indices of the class and the pool of every pair.
    """

    labels: tuple[str, ...]
    route_class: IntArray
    route_pool: IntArray

    per = "class and pool, of classes with a choice"


def every_pool(scenario: Scenario) -> Entries:
    """An entry for each pool."""
    return _all("pool", tuple(scenario.pools))


def every_class(scenario: Scenario) -> Entries:
    """An entry for each request class."""
    return _all("class", tuple(scenario.classes))


def every_site(scenario: Scenario) -> Entries:
    """An entry for each site."""
    return _all("site", tuple(scenario.sites))


def sites_with_battery(scenario: Scenario) -> Entries:
    """An entry for each site with a battery, in the order of `scenario.batteries`."""
    sites = tuple(scenario.sites)
    return _some("site with a battery", sites, [sites.index(site) for site in scenario.batteries])


def sites_that_train(scenario: Scenario) -> Entries:
    """An entry for each site that trains."""
    sites = tuple(scenario.sites)
    return _some("site that trains", sites, [sites.index(site) for site in scenario.training_sites])


def pools_beside_others(scenario: Scenario) -> Entries:
    """An entry for each pool of a site that has several."""
    at = [pool.site for pool in scenario.pools.values()]
    beside = [index for index, site in enumerate(at) if at.count(site) > 1]
    return _some("pool, of sites with several", tuple(scenario.pools), beside)


def pools_with_standby(scenario: Scenario) -> Entries:
    """An entry for each pool whose replicas can stand by."""
    pools = tuple(scenario.pools)
    return _some("pool whose replicas can stand by", pools, [pools.index(name) for name in scenario.standby_pools])


def pools_with_variant(scenario: Scenario) -> Entries:
    """An entry for each pool with a variant of its model."""
    pools = tuple(scenario.pools)
    return _some("pool with a variant of its model", pools, [pools.index(name) for name in scenario.variants])


def classes_with_choice(scenario: Scenario) -> Entries:
    """An entry for each class that more than one pool serves."""
    return _some("class with a choice", tuple(scenario.classes), np.flatnonzero(_has_choice(scenario)).tolist())


def classes_that_return(scenario: Scenario) -> Entries:
    """An entry for each class that a pool with a prefix cache serves."""
    caches = np.array([pool.prefix_cache for pool in scenario.pools.values()])
    returning: list[int] = np.flatnonzero((scenario.route_mask & caches).any(axis=1)).tolist()
    per = "class whose calls may find their conversation in a prefix cache"
    return _some(per, tuple(scenario.classes), returning)


def classes_with_price(scenario: Scenario) -> Entries:
    """An entry for each class whose price may differ from the list price, in the order of `priced_classes`."""
    classes = tuple(scenario.classes)
    return _some("class whose token price may be moved", classes, [classes.index(n) for n in scenario.priced_classes])


def routes(scenario: Scenario) -> Routes:
    """An entry for each pair of a class with a choice and a pool that serves it."""
    route_class, route_pool = np.nonzero(scenario.route_mask & _has_choice(scenario)[:, None])
    pools, classes = tuple(scenario.pools), tuple(scenario.classes)
    labels = tuple(f"{classes[k]} to {pools[p]}" for k, p in zip(route_class, route_pool, strict=True))
    return Routes(labels, route_class, route_pool)


def segment(
    of: Entries | Routes,
    middle: float | Float64Array,
    reach: float | Float64Array,
    *,
    lowest: float | Float64Array | None = None,
    highest: float | Float64Array | None = None,
    **told: Any,
) -> Segment:
    """A segment whose entry `a` stands for `middle + reach a`, cut to [lowest, highest].

    Args:
        of: what the entries stand for.
        middle: one number for all entries, or `[n]`.
        reach: likewise.
        lowest: likewise; what -1 stands for if left out.
        highest: likewise; what 1 stands for if left out.
        told: the other fields of `Segment`.
    """
    count = len(of.labels)
    bias, gain = (np.full(count, values, np.float64) for values in (middle, reach))
    return Segment(
        per=of.per,
        labels=of.labels,
        bias=bias,
        gain=gain,
        lowest=bias - gain if lowest is None else np.full(count, lowest, np.float64),
        highest=bias + gain if highest is None else np.full(count, highest, np.float64),
        **told,
    )


def _has_choice(scenario: Scenario) -> NDArray[np.bool_]:
    """Which classes more than one pool serves, `[K]`."""
    choice: NDArray[np.bool_] = scenario.route_mask.sum(axis=1) >= 2
    return choice


def _all(per: str, names: tuple[str, ...]) -> Entries:
    return _some(per, names, range(len(names)))


def _some(per: str, names: tuple[str, ...], chosen: Sequence[int]) -> Entries:
    return Entries(per, tuple(names[index] for index in chosen), tuple(chosen), len(names))
