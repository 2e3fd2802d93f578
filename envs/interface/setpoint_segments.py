"""The segments of the action `setpoints`, one function each; `SEGMENTS` is their order.

The documentation's table is made from them (`python -m tokenfleet.envs.interface.document`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tokenfleet.envs.estimates.clock_limits import usual_replicas
from tokenfleet.envs.interface.control_segments import (
    affinity_segment,
    price_segment,
    standby_segment,
    training_segment,
    variant_segment,
)
from tokenfleet.envs.interface.entries import (
    classes_with_choice,
    every_class,
    every_pool,
    every_site,
    pools_beside_others,
    routes,
    segment,
    sites_with_battery,
)
from tokenfleet.envs.interface.fillings import Exponential, Limit, Pairs, Replicas, Whole
from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.supervision.loop import AHEAD_S, LEAST_DWELL_S, WAITING_S
from tokenfleet.envs.supervision.setpoints import POWER_SHARE

POWER_REACH = 0.2
HIGHEST_BRAKE_SHARE = 0.8
"""The clocks take a few ticks to come down; a higher share would end under the brake."""
CLOCK_REACH = 0.4
BIAS_REACH_S = 5.0
SPREAD_S, SPREAD_DECADES = 2.5, 1.4
"""Spread in the middle, and powers of ten to either end."""
DEAD, SPAN = 0.1, 0.5
"""Entries up to DEAD either way mean the usual number of replicas; SPAN further, they mean none or all."""
LIMIT_S, HOLD_S, LIMIT_DECADES = 30.0, 5.0, 2.0
"""Backlog limit in the middle, that of deferrable classes, and powers of ten to either end."""
UNLIMITED_FROM = 0.9
"""Entry from which there is no backlog limit."""


def power_segment(scenario: Scenario) -> Segment:
    """The power that each site is steered to."""
    return segment(
        every_site(scenario),
        middle=POWER_SHARE,
        reach=POWER_REACH,
        highest=1.0,
        name="power_share",
        control="power_share",
        unit="share",
        low=f"{POWER_SHARE - POWER_REACH:g}",
        high=f"1 (from a = {(1.0 - POWER_SHARE) / POWER_REACH:g})",
        formula=f"`min(1, {POWER_SHARE:g} + {POWER_REACH:g} a)`",
        doc=f"Power that the clocks of the site are steered to, over the lowest cap of the next {AHEAD_S:g} s.",
        filling=Whole(),
    )


def brake_segment(scenario: Scenario) -> Segment:
    """How much of each site's allowance above the cap is spent."""
    return segment(
        every_site(scenario),
        middle=0.0,
        reach=HIGHEST_BRAKE_SHARE,
        lowest=0.0,
        name="brake_share",
        control="brake_share",
        unit="share",
        low="0 (up to a = 0)",
        high=f"{HIGHEST_BRAKE_SHARE:g}",
        formula=f"`max(0, {HIGHEST_BRAKE_SHARE:g} a)`",
        doc=f"Share of the brake's delay to spend: while interactive work waits for more than {WAITING_S:g} s and less "
        "of the delay is used, the site is steered to what its breaker carries for ever instead.",
        filling=Whole(),
    )


def clock_segment(scenario: Scenario) -> Segment:
    """How a site's power is split over its pools."""
    of = pools_beside_others(scenario)
    return segment(
        of,
        middle=0.0,
        reach=CLOCK_REACH,
        name="clock_bias",
        control="clock_bias",
        unit="share",
        low=f"{-CLOCK_REACH:g}",
        high=f"{CLOCK_REACH:g}",
        formula=f"`{CLOCK_REACH:g} a`",
        doc="Clock of the pool over that of its site.",
        filling=of.filling(rest=0.0, always=True),
    )


def bias_segment(scenario: Scenario) -> Segment:
    """Which pools each class is drawn to."""
    of = routes(scenario)
    return segment(
        of,
        middle=0.0,
        reach=BIAS_REACH_S,
        name="route_bias",
        control="route_bias_s",
        unit="s",
        low=f"{-BIAS_REACH_S:g}",
        high=f"{BIAS_REACH_S:g}",
        formula=f"`{BIAS_REACH_S:g} a`",
        doc="Backlog by which the pool counts as shorter to the class than it is.",
        filling=Pairs(of.route_class, of.route_pool, scenario.route_mask.shape),
    )


def spread_segment(scenario: Scenario) -> Segment:
    """How far each class is spread over pools."""
    of = classes_with_choice(scenario)
    return segment(
        of,
        middle=np.log10(SPREAD_S),
        reach=SPREAD_DECADES,
        name="route_spread",
        control="route_spread_s",
        unit="s",
        low=f"{SPREAD_S * 10**-SPREAD_DECADES:.2g}",
        high=f"{SPREAD_S * 10**SPREAD_DECADES:.2g}",
        formula=f"`{SPREAD_S:g} * 10 ** ({SPREAD_DECADES:g} a)`",
        doc="Backlog above the least one at which a pool gets nothing of the class any more.",
        filling=of.filling(rest=1.0, always=True, inner=Exponential()),
    )


def awake_segment(scenario: Scenario) -> Segment:
    """How many replicas of each pool are kept awake."""
    replicas = np.array([pool.replicas for pool in scenario.pools.values()])
    return segment(
        every_pool(scenario),
        middle=0.0,
        reach=1.0,
        name="awake_replicas",
        control="awake_replicas",
        unit="replicas",
        low=f"0 (from a = {-DEAD - SPAN:g})",
        high=f"all (from a = {DEAD + SPAN:g})",
        formula=f"`usual * min(1, 1 + {1.0 / SPAN:g} (a + {DEAD:g}))`; above a = {DEAD:g} up to all",
        doc="Replicas to keep awake, rounded with a hysteresis of a quarter of one and kept for "
        f"{LEAST_DWELL_S:g} s or the time to wake; usual is how many fit the contract at the clock floor.",
        filling=Replicas(usual_replicas(scenario), replicas, DEAD, SPAN),
    )


def backlog_segment(scenario: Scenario) -> Segment:
    """The backlog up to which each class is let in, or released."""
    middle = np.log10([HOLD_S if cls.deferrable else LIMIT_S for cls in scenario.classes.values()])
    highest = middle + UNLIMITED_FROM * LIMIT_DECADES
    return segment(
        every_class(scenario),
        middle=middle,
        reach=LIMIT_DECADES,
        highest=highest,
        name="backlog_limit",
        control="backlog_limit_s",
        unit="s",
        low=f"middle / {10**LIMIT_DECADES:g}",
        high=f"no limit (from a = {UNLIMITED_FROM:g})",
        formula=f"`middle * 10 ** ({LIMIT_DECADES:g} a)`, middle {LIMIT_S:g} s, of deferrable classes {HOLD_S:g} s",
        doc="Backlog above which requests are refused (interactive) or held (deferrable).",
        filling=Limit(highest, Exponential()),
    )


def battery_segment(scenario: Scenario) -> Segment:
    """The charge that each battery is steered to."""
    of, batteries = sites_with_battery(scenario), scenario.batteries.values()
    initial = np.array([battery.initial_charge_fraction for battery in batteries])
    lowest = np.array([battery.min_charge_fraction for battery in batteries])
    highest = np.array([battery.max_charge_fraction for battery in batteries])
    return segment(
        of,
        middle=initial,
        reach=np.maximum(highest - initial, initial - lowest),
        lowest=lowest,
        highest=highest,
        name="battery_charge",
        control="battery_charge",
        unit="share",
        low="the lowest charge",
        high="the highest",
        formula="`initial + a * max(highest - initial, initial - lowest)`, cut to [lowest, highest]",
        doc="Share of its capacity that the battery should hold: above it discharges, below it charges with power that "
        "the target leaves.",
        filling=of.filling(rest=0.5),
    )


SEGMENTS: tuple[Callable[[Scenario], Segment], ...] = (
    power_segment,
    brake_segment,
    clock_segment,
    bias_segment,
    spread_segment,
    awake_segment,
    standby_segment,
    variant_segment,
    backlog_segment,
    battery_segment,
    training_segment,
    affinity_segment,
    price_segment,
)
"""Every segment, in the order in which it stands in an action."""
