"""The knobs of the action `setpoints`, one function a segment; `SEGMENTS` is their order.

The documentation's table is made from them (`python -m tokenfleet.envs.interface.document`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.clock_limits import usual_replicas
from tokenfleet.envs.interface.knobs import affinity_segment, price_segment
from tokenfleet.envs.interface.segments import Exponential, Replicas, Routes, Segment, Some, Whole
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

POWER_SHARE = 0.96
"""In the middle; what the rule `feedback_capping` leaves free is the rest."""
HIGHEST_BRAKE_SHARE = 0.8
"""The clocks take a few ticks to come down; more would end under the brake."""
DEAD, SPAN = 0.1, 0.5
"""Entries around 0 that mean the usual number of replicas, and from there on to none or all."""


def power_segment(scenario: Scenario) -> Segment:
    """What each site draws."""
    ones = np.ones(len(scenario.sites))
    return Segment(
        name="power_share",
        control="power_share",
        per="site",
        labels=tuple(scenario.sites),
        unit="share",
        low="0.76",
        high="1 (from a = 0.2)",
        formula="`min(1, 0.96 + 0.2 a)`",
        doc="Power that the clocks of the site are steered to, over the lowest cap of the next 2 s.",
        bias=POWER_SHARE * ones,
        gain=0.2 * ones,
        lowest=(POWER_SHARE - 0.2) * ones,
        highest=ones,
        filling=Whole(),
    )


def brake_segment(scenario: Scenario) -> Segment:
    """How much of each site's allowance above the cap is spent."""
    ones = np.ones(len(scenario.sites))
    return Segment(
        name="brake_share",
        control="brake_share",
        per="site",
        labels=tuple(scenario.sites),
        unit="share",
        low="0 (up to a = 0)",
        high="0.8",
        formula="`max(0, 0.8 a)`",
        doc="Share of the brake's delay to spend: while interactive work waits for more than 1 s and less of the delay "
        "is used, the site is steered to what its breaker carries for ever instead.",
        bias=0.0 * ones,
        gain=HIGHEST_BRAKE_SHARE * ones,
        lowest=0.0 * ones,
        highest=HIGHEST_BRAKE_SHARE * ones,
        filling=Whole(),
    )


def clock_segment(scenario: Scenario) -> Segment:
    """How a site's power is split over its pools."""
    at = [pool.site for pool in scenario.pools.values()]
    shared = [p for p, site in enumerate(at) if at.count(site) > 1]
    names, ones = tuple(scenario.pools), np.ones(len(shared))
    return Segment(
        name="clock_bias",
        control="clock_bias",
        per="pool, of sites with several",
        labels=tuple(names[p] for p in shared),
        unit="share",
        low="-0.4",
        high="0.4",
        formula="`0.4 a`",
        doc="Clock of the pool over that of its site.",
        bias=0.0 * ones,
        gain=0.4 * ones,
        lowest=-0.4 * ones,
        highest=0.4 * ones,
        filling=Some(shared, len(names), rest=0.0, always=True),
    )


def bias_segment(scenario: Scenario) -> Segment:
    """Which pools each class is drawn to."""
    mask = scenario.route_mask
    route_class, route_pool = np.nonzero(mask & (mask.sum(axis=1, keepdims=True) >= 2))
    pools, classes, ones = tuple(scenario.pools), tuple(scenario.classes), np.ones(len(route_class))
    return Segment(
        name="route_bias",
        control="route_bias_s",
        per="class and pool, of classes with a choice",
        labels=tuple(f"{classes[k]} to {pools[p]}" for k, p in zip(route_class, route_pool, strict=True)),
        unit="s",
        low="-5",
        high="5",
        formula="`5 a`",
        doc="Backlog by which the pool counts as shorter to the class than it is.",
        bias=0.0 * ones,
        gain=5.0 * ones,
        lowest=-5.0 * ones,
        highest=5.0 * ones,
        filling=Routes(route_class, route_pool, mask.shape),
    )


def spread_segment(scenario: Scenario) -> Segment:
    """How far each class is spread over pools."""
    chosen = np.flatnonzero(scenario.route_mask.sum(axis=1) >= 2).tolist()
    classes, ones = tuple(scenario.classes), np.ones(len(chosen))
    return Segment(
        name="route_spread",
        control="route_spread_s",
        per="class with a choice",
        labels=tuple(classes[k] for k in chosen),
        unit="s",
        low="0.1",
        high="63",
        formula="`2.5 * 10 ** (1.4 a)`",
        doc="Backlog above the least one at which a pool gets nothing of the class any more.",
        bias=np.log10(2.5) * ones,
        gain=1.4 * ones,
        lowest=(np.log10(2.5) - 1.4) * ones,
        highest=(np.log10(2.5) + 1.4) * ones,
        filling=Some(chosen, len(classes), rest=1.0, always=True, inner=Exponential()),
    )


def awake_segment(scenario: Scenario) -> Segment:
    """How many replicas of each pool are kept awake."""
    ones = np.ones(len(scenario.pools))
    replicas = np.array([pool.replicas for pool in scenario.pools.values()])
    return Segment(
        name="awake_replicas",
        control="awake_replicas",
        per="pool",
        labels=tuple(scenario.pools),
        unit="replicas",
        low="0 (from a = -0.6)",
        high="all (from a = 0.6)",
        formula="`usual * min(1, 1 + 2 (a + 0.1))`; above a = 0.1 up to all",
        doc="Replicas to keep awake, rounded with a hysteresis of a quarter of one and kept for 30 s or the time to "
        "wake; usual is how many fit the contract at the clock floor.",
        bias=0.0 * ones,
        gain=ones,
        lowest=-ones,
        highest=ones,
        filling=Replicas(usual_replicas(scenario), replicas, DEAD, SPAN),
    )


def backlog_segment(scenario: Scenario) -> Segment:
    """Up to which backlog each class is let in, or released."""
    middle_s = np.array([5.0 if cls.deferrable else 30.0 for cls in scenario.classes.values()])
    bias = np.log10(middle_s)
    gain = np.full(len(bias), 2.0)
    highest = bias + 0.9 * gain
    return Segment(
        name="backlog_limit",
        control="backlog_limit_s",
        per="class",
        labels=tuple(scenario.classes),
        unit="s",
        low="middle / 100",
        high="no limit (from a = 0.9)",
        formula="`middle * 10 ** (2 a)`, middle 30 s, of deferrable classes 5 s",
        doc="Backlog above which requests are refused (interactive) or held (deferrable).",
        bias=bias,
        gain=gain,
        lowest=bias - gain,
        highest=highest,
        filling=Exponential(highest),
    )


def battery_segment(scenario: Scenario) -> Segment:
    """What each battery keeps in reserve."""
    batteries, sites = scenario.batteries, list(scenario.sites)
    middle = np.array([battery.initial_charge_fraction for battery in batteries.values()])
    lowest = np.array([battery.min_charge_fraction for battery in batteries.values()])
    highest = np.array([battery.max_charge_fraction for battery in batteries.values()])
    return Segment(
        name="battery_charge",
        control="battery_charge",
        per="site with a battery",
        labels=tuple(batteries),
        unit="share",
        low="the lowest charge",
        high="the highest",
        formula="`initial + a * max(highest - initial, initial - lowest)`, cut to [lowest, highest]",
        doc="Share of its capacity that the battery should hold: above it discharges, below it charges with power that "
        "the target leaves.",
        bias=middle,
        gain=np.maximum(highest - middle, middle - lowest),
        lowest=lowest,
        highest=highest,
        filling=Some([sites.index(name) for name in batteries], len(sites), rest=0.5),
    )


SEGMENTS: tuple[Callable[[Scenario], Segment], ...] = (
    power_segment,
    brake_segment,
    clock_segment,
    bias_segment,
    spread_segment,
    awake_segment,
    backlog_segment,
    battery_segment,
    lambda scenario: affinity_segment(scenario, np.empty(0)),
    lambda scenario: price_segment(scenario, np.empty(0)),
)
"""Every knob, in the order in which it stands in an action."""
