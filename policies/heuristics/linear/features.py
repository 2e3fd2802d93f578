"""What linear feedback sees: a row of features for each site and each class, in physical units.

Every feature is in the observation `supervisor`, or is a mean over the past of what is there. An entry of a site or
pool follows its own site. An entry of a request class follows its class: demand, backlog and clients who decline are
the class's own; all other features are means over sites.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]

NAMES = (
    "cap",
    "cap to come",
    "cap elsewhere",
    "price",
    "price to come",
    "price elsewhere",
    "backlog",
    "demand",
    "declined",
    "awake",
    "room",
    "battery",
    "time to event",
    "event chance",
    "event chance elsewhere",
    "time",
)
"""Cap [W] now, the lowest cap now or announced, and the mean of other sites' caps; electricity price [USD/MWh] now, the
mean of its forecasts, and the other sites' mean; log(1 + longest backlog [s]); means over the past of arrivals per tick
and of the share of calls that decline the token price; the share of awake replicas; room temperature [C]; charge of the
battery; time to the next announced event [s]; the highest chance of an event at the grid connection that is forecast,
0 without forecasts, and the mean of the other sites' chances; the part of the episode so far."""
MEMORY_S = 60.0
"""Time constant of means over the past [s]."""
WIDEST = 4.0
"""Standard deviations from its mean at which a feature is cut."""


@dataclass(frozen=True)
class FeatureScale:
    """Means and standard deviations of the features, `[S + K, F]` each; 0 deviation for one that never moves."""

    mean: Float64Array
    deviation: Float64Array

    @property
    def moves(self) -> NDArray[np.bool_]:
        """Which features move at all, `[S + K, F]`."""
        found: NDArray[np.bool_] = self.deviation > 1e-9 * np.maximum(np.abs(self.mean), 1.0)
        return found


class Fields(Protocol):
    """Named fields of N fleets in physical units, such as a `Record`."""

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """The field, `[N, ...]`."""


class Past(NamedTuple):
    """What is remembered of N fleets: means over the past, NaN before the first reading.

    Attributes:
        arrived: calls of each class in a tick, `[N, K]`.
        declined: of them those that declined the token price, `[N, K]`.
    """

    arrived: Float64Array
    declined: Float64Array

    def after(self, past: Sequence[Float64Array], elapsed_s: Float64Array) -> Past:
        """The means `past`, moved towards this reading, which comes `elapsed_s` later, `[N]` [s]."""
        return Past(*(_means(before, new, elapsed_s) for before, new in zip(past, self, strict=True)))


class Features:
    """Reads the features of N fleets.

    Args:
        scenario: of the fleets.

    Attributes:
        fields: names of the view's fields that it reads.
        estimated: names of `envs.interface.supervisor_observation.ESTIMATED` that it reads.
    """

    fields: tuple[str, ...] = (
        "cap_w",
        "announced_cap_w",
        "price_usd_per_mwh",
        "price_forecast_usd_per_mwh",
        "arrived",
        "declined",
        "awake_replicas",
        "room_c",
        "battery_charge_fraction",
        "event_chance",
        "time_fraction",
    )
    estimated: tuple[str, ...] = ("pool_backlog_s", "class_backlog_s", "event_in_s")

    def __init__(self, scenario: Scenario) -> None:
        sites, classes = list(scenario.sites), list(scenario.classes)
        self._pools_at = [[p for p, pool in enumerate(scenario.pools.values()) if pool.site == site] for site in sites]
        self._replicas = np.array([pool.replicas for pool in scenario.pools.values()], np.float64)
        self._rooms = [sites.index(name) for name in scenario.rooms]
        self._batteries = [sites.index(name) for name in scenario.batteries]
        self._priced = [classes.index(name) for name in scenario.priced_classes]
        self._sites, self._classes = len(sites), len(classes)

    def nothing_past(self, num_envs: int) -> Past:
        """What is remembered before the first reading."""
        return Past(*(np.full((num_envs, self._classes), np.nan) for _ in Past._fields))

    def read(self, view: Fields, past: Sequence[Float64Array], elapsed_s: Float64Array) -> tuple[Float64Array, Past]:
        """The unscaled features, of sites and then of classes, `[N, S + K, F]`, and what to remember from now on.

        Args:
            view: the fleets' fields.
            past: what the previous reading left, never changed in place.
            elapsed_s: time since the previous reading, `[N]` [s]; ignored at the first.
        """

        def field(name: str) -> Float64Array:
            return np.asarray(view[name], np.float64)

        now = Past(field("arrived"), self._declined(field("declined")))
        arrived, declined = after = now.after(past, elapsed_s)
        cap, price = field("cap_w"), field("price_usd_per_mwh")
        chance = self._chances(field("event_chance"))
        everything = arrived.sum(axis=1), declined.sum(axis=1)
        found = {
            "cap": cap,
            "cap to come": np.minimum(field("announced_cap_w").min(axis=2, initial=np.inf), cap),
            "cap elsewhere": _elsewhere(cap),
            "price": price,
            "price to come": _mean_or(field("price_forecast_usd_per_mwh"), price),
            "price elsewhere": _elsewhere(price),
            "backlog": np.log1p(self._at_sites(field("pool_backlog_s"), _longest)),
            "demand": self._everywhere(everything[0]),
            "declined": self._everywhere(_share(everything[1], everything[0])),
            "awake": self._at_sites(field("awake_replicas") / self._replicas, _mean),
            "room": self._where(self._rooms, field("room_c")),
            "battery": self._where(self._batteries, field("battery_charge_fraction")),
            "time to event": field("event_in_s"),
            "event chance": chance,
            "event chance elsewhere": _elsewhere(chance),
            "time": self._everywhere(field("time_fraction")),
        }
        own = {"backlog": np.log1p(field("class_backlog_s")), "demand": arrived, "declined": _share(declined, arrived)}
        means = {name: np.broadcast_to(site.mean(axis=1)[:, None], arrived.shape) for name, site in found.items()}
        of_classes = np.stack([(means | own)[name] for name in NAMES], axis=2)
        return np.concatenate([np.stack([found[name] for name in NAMES], axis=2), of_classes], axis=1), after

    def _declined(self, of_priced: Float64Array) -> Float64Array:
        row = np.zeros((len(of_priced), self._classes))
        row[:, self._priced] = of_priced
        return row

    def _at_sites(self, pools: Float64Array, together: Callable[[Float64Array], Float64Array]) -> Float64Array:
        return np.stack([together(pools[:, here]) for here in self._pools_at], axis=1)

    def _chances(self, of_limits: Float64Array) -> Float64Array:
        """The highest chance at any lead for each site: sites come first among the limits that are forecast."""
        row = np.zeros((len(of_limits), self._sites))
        if of_limits.shape[1]:
            row[:] = of_limits[:, : self._sites].max(axis=2)
        return row

    def _everywhere(self, fleet: Float64Array) -> Float64Array:
        return np.broadcast_to(fleet[:, None], (len(fleet), self._sites))

    def _where(self, sites: list[int], values: Float64Array) -> Float64Array:
        row = np.zeros((len(values), self._sites))
        row[:, sites] = values
        return row


def _means(before: Float64Array, now: Float64Array, elapsed_s: Float64Array) -> Float64Array:
    """Means over the past, moved towards the values now."""
    weight = np.minimum(1.0, elapsed_s / MEMORY_S)[:, None]
    begun = np.where(np.isnan(before), now, before)
    means: Float64Array = begun + weight * (now - begun)
    return means


def _longest(values: Float64Array) -> Float64Array:
    longest: Float64Array = values.max(axis=1, initial=0.0)
    return longest


def _mean(values: Float64Array) -> Float64Array:
    mean: Float64Array = values.sum(axis=1) / max(values.shape[1], 1)
    return mean


def _elsewhere(values: Float64Array) -> Float64Array:
    """The mean over the other sites; 0 where there is none."""
    others = max(values.shape[1] - 1, 1)
    mean: Float64Array = (values.sum(axis=1, keepdims=True) - values) / others
    return mean


def _mean_or(values: Float64Array, otherwise: Float64Array) -> Float64Array:
    """The mean along the last axis; `otherwise` if that axis is empty."""
    mean: Float64Array = values.mean(axis=2) if values.shape[2] else otherwise
    return mean


def _share(part: Float64Array, whole: Float64Array) -> Float64Array:
    share: Float64Array = part / np.maximum(whole, 1e-9)
    return share


def row_names(scenario: Scenario) -> list[str]:
    """The site or class of each row of the features.

    >>> from tokenfleet.envs.scenario import load_scenario
    >>> row_names(load_scenario("tiny"))
    ['site lab', 'class chat-8b', 'class chat-70b', 'class batch-8b']
    """
    return [*(f"site {name}" for name in scenario.sites), *(f"class {name}" for name in scenario.classes)]


def followed_rows(scenario: Scenario, table: tuple[Segment, ...]) -> list[int]:
    """The row of the features that each entry of the action follows: sites come first, then classes."""
    sites, classes, pools = list(scenario.sites), list(scenario.classes), scenario.pools

    def row_of(segment: Segment, label: str) -> int:
        if segment.per.startswith("site"):
            return sites.index(label)
        if segment.per.startswith(("pool", "class and pool")):
            return sites.index(pools[label.rpartition(" to ")[2]].site)
        return len(sites) + classes.index(label)

    return [row_of(segment, label) for segment in table for label in segment.labels]
