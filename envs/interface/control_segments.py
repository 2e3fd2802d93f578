"""The segments of the default action, one function each; `SEGMENTS` is their order.

The documentation's table is made from them (`python -m tokenfleet.envs.interface.document`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tokenfleet.envs.estimates.clock_limits import usual_replicas
from tokenfleet.envs.interface.entries import (
    classes_that_return,
    classes_with_price,
    every_class,
    every_pool,
    pools_with_standby,
    pools_with_variant,
    routes,
    segment,
    sites_that_train,
    sites_with_battery,
)
from tokenfleet.envs.interface.fillings import AwakeShares, Limit, Shares, Whole
from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_share

HIGHEST_AFFINITY = 2.0
ADMISSION_HEADROOM = 4.0
"""The highest finite admission rate, over the class's mean rate."""
DEAD, SPAN = 0.6, 0.4
"""Entries up to DEAD either way mean the usual number of replicas; SPAN further, they mean none or all."""


def route_segment(scenario: Scenario) -> Segment:
    """How the requests of each class with a choice are split over pools."""
    of, share = routes(scenario), capacity_share(scenario)
    capacity = share[of.route_class, of.route_pool]
    return segment(
        of,
        middle=capacity / 2.0,
        reach=capacity / 2.0,
        name="route_weight",
        control="route_share",
        unit="share",
        low="closed",
        high="twice the weight",
        formula="`(a + 1) / 2 * capacity`, over its sum for the class",
        doc="Where a class's requests go; with every route of a class closed, capacity decides.",
        filling=Shares(share, of.route_class, of.route_pool),
    )


def clock_segment(scenario: Scenario) -> Segment:
    """The clock of each pool."""
    floor = np.array([pool.gpu_spec.clock_floor_fraction for pool in scenario.pools.values()])
    half_range = (1.0 - floor) / 2.0
    return segment(
        every_pool(scenario),
        middle=floor + half_range,
        reach=half_range,
        lowest=floor,
        highest=1.0,
        name="clock_fraction",
        control="clock_fraction",
        unit="share",
        low="clock floor",
        high="1",
        formula="`floor + (1 - floor) * (a + 1) / 2`",
        doc="GPU clock over the highest clock.",
        filling=Whole(),
    )


def awake_segment(scenario: Scenario) -> Segment:
    """How much of each pool is awake: the usual number between a = -0.6 and 0.6, so that noise changes nothing."""
    replicas = np.array([pool.replicas for pool in scenario.pools.values()])
    return segment(
        every_pool(scenario),
        middle=0.0,
        reach=1.0,
        name="awake_fraction",
        control="awake_fraction",
        unit="share",
        low="0",
        high="1",
        formula=f"`usual * min(1, 1 + (a + {DEAD}) / {SPAN})` replicas, rounded, over all; above a = {DEAD} up to all",
        doc="Replicas that should be awake; usual is how many fit the contract at the clock floor.",
        filling=AwakeShares(usual_replicas(scenario), replicas, DEAD, SPAN),
    )


def admission_segment(scenario: Scenario) -> Segment:
    """How much of each class is let in."""
    highest_rps = ADMISSION_HEADROOM * np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
    return segment(
        every_class(scenario),
        middle=highest_rps,
        reach=highest_rps,
        highest=highest_rps,
        name="admit_rate_rps",
        control="admit_rate_rps",
        unit="requests/s",
        low="0",
        high="no limit (from a = 0)",
        formula=f"`(1 + a) * {ADMISSION_HEADROOM:g} * mean rate` below 0, else no limit",
        doc="Admission limit of an interactive class; release rate of a deferrable one.",
        filling=Limit(highest_rps),
    )


def battery_segment(scenario: Scenario) -> Segment:
    """What each battery gives or takes."""
    of = sites_with_battery(scenario)
    return segment(
        of,
        middle=0.0,
        reach=np.array([battery.power_w for battery in scenario.batteries.values()]),
        name="battery_power",
        control="battery_power_w",
        unit="W",
        low="charge at full power",
        high="discharge at full power",
        formula="`a * power_w`",
        doc="What the battery is asked for; it gives what it holds, and no more than the site draws.",
        filling=of.filling(rest=0.0),
    )


def affinity_segment(scenario: Scenario) -> Segment:
    """How strongly calls of each class prefer the replica that has cached their conversation."""
    of = classes_that_return(scenario)
    return segment(
        of,
        middle=HIGHEST_AFFINITY / 2.0,
        reach=HIGHEST_AFFINITY / 2.0,
        name="prefix_affinity",
        control="prefix_affinity",
        unit="tokens/token",
        low="0, load alone",
        high=f"{HIGHEST_AFFINITY:g}",
        formula="`highest * (a + 1) / 2`",
        doc="How much longer a queue a call accepts where its conversation is, for each cached token.",
        filling=of.filling(rest=1.0),
    )


def training_segment(scenario: Scenario) -> Segment:
    """How many of each site's training jobs work."""
    of = sites_that_train(scenario)
    return segment(
        of,
        middle=1.0,
        reach=1.0,
        highest=1.0,
        name="training_share",
        control="training_share",
        unit="share",
        low="0",
        high="1 (from a = 0)",
        formula="`min(1, 1 + a)`",
        doc="Training jobs that should work; the others pause once they have written a checkpoint.",
        filling=of.filling(rest=1.0),
    )


def standby_segment(scenario: Scenario) -> Segment:
    """How much of each pool stands by, where it can."""
    of = pools_with_standby(scenario)
    return segment(
        of,
        middle=0.5,
        reach=0.5,
        name="standby_fraction",
        control="standby_fraction",
        unit="share",
        low="0",
        high="1",
        formula="`(a + 1) / 2` of the pool, at most those that need not be awake",
        doc="Replicas that should stand by; the rest sleeps.",
        filling=of.filling(rest=0.0),
    )


def variant_segment(scenario: Scenario) -> Segment:
    """How much of each pool serves the variant of its model, where there is one."""
    of = pools_with_variant(scenario)
    return segment(
        of,
        middle=0.0,
        reach=1.0,
        lowest=0.0,
        name="variant_fraction",
        control="variant_fraction",
        unit="share",
        low="0 (up to a = 0)",
        high="1",
        formula="`max(0, a)`",
        doc="Replicas, the first ones, that should serve the variant; who has another model loaded drains and reloads.",
        filling=of.filling(rest=0.0),
    )


def price_segment(scenario: Scenario) -> Segment:
    """The token price of each class whose price may differ from the list price."""
    of, factors = classes_with_price(scenario), scenario.priced_classes.values()
    lowest, highest = (np.array([getattr(factor, end) for factor in factors]) for end in ("low", "high"))
    return segment(
        of,
        middle=(lowest + highest) / 2.0,
        reach=(highest - lowest) / 2.0,
        lowest=lowest,
        highest=highest,
        name="token_price_factor",
        control="token_price_factor",
        unit="share",
        low="the lowest factor of the class",
        high="the highest",
        formula="`low + (high - low) * (a + 1) / 2`",
        doc="Token price over the list price; a client whose tolerance is below it declines.",
        filling=of.filling(rest=1.0),
    )


SEGMENTS: tuple[Callable[[Scenario], Segment], ...] = (
    route_segment,
    clock_segment,
    awake_segment,
    standby_segment,
    variant_segment,
    admission_segment,
    battery_segment,
    training_segment,
    affinity_segment,
    price_segment,
)
"""Every segment, in the order in which it stands in an action."""
