"""What a plan with feedback sees: four numbers a site, on the scale that they have while the middle is held.

A steered entry follows its own site; an entry of a request class follows the mean over sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fields import Record
from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

NAMES = ("cap", "price", "backlog", "demand")
STEERED = ("power_share", "awake_replicas", "backlog_limit", "battery_charge", "token_price_factor")
"""Segments that feedback moves: where a reason is known for the best set-point to depend on the four."""
DEMAND_TIME_S = 60.0
"""Time constant of the mean of arrivals [s]."""
WIDEST = 4.0
"""Standard deviations at which a feature is cut."""


@dataclass(frozen=True)
class Scale:
    """Means and standard deviations of the features, `[S, F]` each; 0 deviation for one that never moves."""

    mean: Float64Array
    deviation: Float64Array


class Features:
    """Reads the features of N fleets; remembers the mean of arrivals.

    Args:
        scenario: of the fleets.
        num_envs: N.
        step_s: time between two readings [s].
    """

    def __init__(self, scenario: Scenario, num_envs: int, step_s: float) -> None:
        sites = list(scenario.sites)
        self._pools_at = [[p for p, pool in enumerate(scenario.pools.values()) if pool.site == site] for site in sites]
        self._weight = min(1.0, step_s / DEMAND_TIME_S)
        self._demand: Float64Array | None = None
        self._num_envs = num_envs

    def read(self, view: Record) -> Float64Array:
        """The features as they are, `[N, S, F]`."""
        cap = np.asarray(view["cap_w"], np.float64)
        price = np.asarray(view["price_usd_per_mwh"], np.float64)
        waiting = np.log1p(np.asarray(view["pool_backlog_s"], np.float64))
        backlog = np.stack([waiting[:, pools].max(axis=1, initial=0.0) for pools in self._pools_at], axis=1)
        arrived = np.asarray(view["arrived"], np.float64).sum(axis=1)
        before = arrived if self._demand is None else self._demand
        self._demand = before + self._weight * (arrived - before)
        demand = np.broadcast_to(self._demand[:, None], cap.shape)
        return np.stack([cap, price, backlog, demand], axis=2)


def scaled(values: Float64Array, scale: Scale) -> Float64Array:
    """Features in standard deviations from their mean; behind the last site the mean over sites: `[N, S + 1, F]`."""
    moves = scale.deviation > 1e-9 * np.maximum(np.abs(scale.mean), 1.0)
    shares = np.where(moves, (values - scale.mean) / np.where(moves, scale.deviation, 1.0), 0.0)
    cut = np.clip(shares, -WIDEST, WIDEST)
    return np.concatenate([cut, cut.mean(axis=1, keepdims=True)], axis=1)


def steered_entries(scenario: Scenario, table: tuple[Segment, ...]) -> tuple[list[int], list[int]]:
    """Entries of the action that feedback moves, and the site that each follows; S stands for the mean over sites."""
    sites = list(scenario.sites)
    columns, follows = [], []
    for segment in table:
        if segment.name not in STEERED:
            continue
        for offset, label in enumerate(segment.labels):
            columns.append(segment.first + offset)
            if segment.per.startswith("site"):
                follows.append(sites.index(label))
            elif segment.per.startswith("pool"):
                follows.append(sites.index(scenario.pools[label].site))
            else:
                follows.append(len(sites))
    return columns, follows
