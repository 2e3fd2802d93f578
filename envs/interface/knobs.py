"""The knobs of the default action, one function a segment; `SEGMENTS` is their order.

The documentation's table is made from them (`python -m tokenfleet.envs.interface.document`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.clock_limits import usual_replicas
from tokenfleet.envs.interface.segments import AwakeShares, Limit, Segment, Shares, Some, Whole
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

HIGHEST_AFFINITY = 2.0
ADMISSION_HEADROOM = 4.0
"""The highest finite admission rate, over the class's mean rate."""


def route_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """How the requests of each class with a choice are split over pools."""
    has_choice = scenario.route_mask.sum(axis=1, keepdims=True) >= 2
    route_class, route_pool = np.nonzero(scenario.route_mask & has_choice)
    pools, classes = tuple(scenario.pools), tuple(scenario.classes)
    capacity = capacity_share[route_class, route_pool]
    return Segment(
        name="route_weight",
        control="route_share",
        per="class and pool, of classes with a choice",
        labels=tuple(f"{classes[k]} to {pools[p]}" for k, p in zip(route_class, route_pool, strict=True)),
        unit="share",
        low="closed",
        high="twice the weight",
        formula="`(a + 1) / 2 * capacity`, over its sum for the class",
        doc="Where a class's requests go; with every route of a class closed, capacity decides.",
        bias=capacity / 2.0,
        gain=capacity / 2.0,
        lowest=np.zeros_like(capacity),
        highest=capacity,
        filling=Shares(capacity_share, route_class, route_pool),
    )


def clock_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """The clock of each pool."""
    floor = np.array([pool.gpu_spec.clock_floor_fraction for pool in scenario.pools.values()])
    half_range = (1.0 - floor) / 2.0
    return Segment(
        name="clock_fraction",
        control="clock_fraction",
        per="pool",
        labels=tuple(scenario.pools),
        unit="share",
        low="clock floor",
        high="1",
        formula="`floor + (1 - floor) * (a + 1) / 2`",
        doc="GPU clock over the highest clock.",
        bias=floor + half_range,
        gain=half_range,
        lowest=floor,
        highest=np.ones_like(floor),
        filling=Whole(),
    )


def awake_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """How much of each pool is awake: the usual number down to a = -0.6, so that noise around 0 changes nothing."""
    ones = np.ones(len(scenario.pools))
    replicas = np.array([pool.replicas for pool in scenario.pools.values()])
    return Segment(
        name="awake_fraction",
        control="awake_fraction",
        per="pool",
        labels=tuple(scenario.pools),
        unit="share",
        low="0",
        high="1",
        formula="`usual * min(1, 1 + (a + 0.6) / 0.4)` replicas, rounded, over all; above a = 0.6 up to all",
        doc="Replicas that should be awake; usual is how many fit the contract at the clock floor.",
        bias=0.0 * ones,
        gain=ones,
        lowest=-ones,
        highest=ones,
        filling=AwakeShares(usual_replicas(scenario), replicas, dead=0.6, span=0.4),
    )


def admission_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """How much of each class is let in."""
    highest_rps = ADMISSION_HEADROOM * np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
    return Segment(
        name="admit_rate_rps",
        control="admit_rate_rps",
        per="class",
        labels=tuple(scenario.classes),
        unit="requests/s",
        low="0",
        high="no limit (from a = 0)",
        formula=f"`(1 + a) * {ADMISSION_HEADROOM:g} * mean rate` below 0, else no limit",
        doc="Admission limit of an interactive class; release rate of a deferrable one.",
        bias=highest_rps,
        gain=highest_rps,
        lowest=np.zeros_like(highest_rps),
        highest=highest_rps,
        filling=Limit(highest_rps),
    )


def battery_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """What each battery gives or takes."""
    power_w = np.array([battery.power_w for battery in scenario.batteries.values()])
    sites = list(scenario.sites)
    return Segment(
        name="battery_power",
        control="battery_power_w",
        per="site with a battery",
        labels=tuple(scenario.batteries),
        unit="W",
        low="charge at full power",
        high="discharge at full power",
        formula="`a * power_w`",
        doc="What the battery is asked for; it gives what it holds, and no more than the site draws.",
        bias=np.zeros_like(power_w),
        gain=power_w,
        lowest=-power_w,
        highest=power_w,
        filling=Some([sites.index(site) for site in scenario.batteries], len(sites), rest=0.0),
    )


def affinity_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """How much the calls of each class are drawn to where their conversation is cached."""
    returning, classes = returning_classes(scenario), tuple(scenario.classes)
    ones = np.ones(len(returning))
    return Segment(
        name="prefix_affinity",
        control="prefix_affinity",
        per="class whose calls may find their conversation in a prefix cache",
        labels=tuple(classes[k] for k in returning),
        unit="tokens/token",
        low="0, load alone",
        high=f"{HIGHEST_AFFINITY:g}",
        formula="`highest * (a + 1) / 2`",
        doc="How much longer a queue a call accepts where its conversation is, for each cached token.",
        bias=HIGHEST_AFFINITY / 2.0 * ones,
        gain=HIGHEST_AFFINITY / 2.0 * ones,
        lowest=0.0 * ones,
        highest=HIGHEST_AFFINITY * ones,
        filling=Some(returning, len(classes), rest=1.0),
    )


def price_segment(scenario: Scenario, capacity_share: Float64Array) -> Segment:
    """The token price of each class that may have another than the list price."""
    factors, classes = scenario.priced_classes, list(scenario.classes)
    lowest, highest = (np.array([getattr(factor, end) for factor in factors.values()]) for end in ("low", "high"))
    return Segment(
        name="token_price_factor",
        control="token_price_factor",
        per="class whose token price may be moved",
        labels=tuple(factors),
        unit="share",
        low="the lowest factor of the class",
        high="the highest",
        formula="`low + (high - low) * (a + 1) / 2`",
        doc="Token price over the list price; a client whose tolerance is below it declines.",
        bias=(lowest + highest) / 2.0,
        gain=(highest - lowest) / 2.0,
        lowest=lowest,
        highest=highest,
        filling=Some([classes.index(name) for name in factors], len(classes), rest=1.0),
    )


SEGMENTS: tuple[Callable[[Scenario, Float64Array], Segment], ...] = (
    route_segment,
    clock_segment,
    awake_segment,
    admission_segment,
    battery_segment,
    affinity_segment,
    price_segment,
)
"""Every knob, in the order in which it stands in an action; each takes the scenario and `capacity_share` `[K, P]`."""


def returning_classes(scenario: Scenario) -> list[int]:
    """Indices of the classes that a pool with a prefix cache serves."""
    caches = np.array([pool.prefix_cache for pool in scenario.pools.values()])
    found: list[int] = np.flatnonzero((scenario.route_mask & caches).any(axis=1)).tolist()
    return found
