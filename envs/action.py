"""What a brain sets: one number in [-1, 1] for each knob, and its meaning in `Controls`.

An action is a row of seven segments; R is the number of legal (class, pool) pairs of classes that have a choice, B the
number of sites with a battery, Q the number of classes whose calls may find their conversation in a prefix cache, T of
those whose token price may be moved.

| segment | entries | a = -1 | a = 0 | a = 1 | formula |
|---|---|---|---|---|---|
| `route_weight` | R | closed | by capacity | twice the weight | `(a + 1) / 2 * capacity`, then shares per class |
| `clock_fraction` | P | clock floor | half-way | full clock | `floor + (1 - floor) * (a + 1) / 2` |
| `awake_fraction` | P | all asleep | all awake | all awake | `min(1, 2 * (a + 1))` |
| `admit_rate_rps` | K | nothing | no limit | no limit | `(1 + a) * 4 * mean_rate_rps` below 0, else no limit |
| `battery_power` | B | charge at full power | rest | discharge at full power | `a * power_w` |
| `prefix_affinity` | Q | least load | 1 | 2 | `1 + a` |
| `token_price_factor` | T | lowest price | half-way | highest price | `low + (high - low) * (a + 1) / 2` |

The middle of the box is a sane fleet: capacity-weighted routing, everything awake, everything admitted, middle clocks,
batteries at rest, calls that weigh waiting and computing alike, prices half-way.
Exploration noise around it neither puts replicas to sleep (that takes a < -0.5) nor cuts a class off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.capacity import capacity_rps
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

HIGHEST_AFFINITY = 2.0
ADMISSION_HEADROOM = 4.0
"""The highest finite admission rate, over the class's mean rate."""


class Action(Protocol):
    """What the environments ask of an action; bring your own to give a brain other knobs."""

    @property
    def space(self) -> Box:
        """The space of one environment's action."""

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Rows `[N, A]` to controls in physical units; raises `ValueError` on NaN."""


@dataclass(frozen=True)
class Segment:
    """A named run of action entries.

    Attributes:
        name: the control that it sets.
        per: what an entry stands for.
        first: its first column.
        labels: one an entry.
        unit: of the control.
        low, high: what -1 and 1 mean, in `unit`.
        formula: the control from the entry `a`.
        doc: what it does, one sentence.
    """

    name: str
    per: str
    first: int
    labels: tuple[str, ...]
    unit: str
    low: str
    high: str
    formula: str
    doc: str

    @property
    def columns(self) -> slice:
        """Where the segment stands in an action."""
        return slice(self.first, self.first + len(self.labels))


class FleetAction:
    """The default action; see the module's table.

    Args:
        scenario: fixes sizes, legal routes, clock floors and rates.

    Attributes:
        space: `Box(-1, 1, (A,))`, float32.
        table: the segments, in order.
        capacity_rps: what each pool could serve of each class alone, `[K, P]`; 0 where it does not serve the class.
        capacity_share: the same, normalised over pools.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.capacity_rps = capacity_rps(scenario)
        self.capacity_share = self.capacity_rps / self.capacity_rps.sum(axis=1, keepdims=True)
        has_choice = scenario.route_mask.sum(axis=1, keepdims=True) >= 2
        self._route_class, self._route_pool = np.nonzero(scenario.route_mask & has_choice)
        self._battery_w = np.array([battery.power_w for battery in scenario.batteries.values()])
        self._battery_sites = [list(scenario.sites).index(site) for site in scenario.batteries]
        self._returning = returning_classes(scenario)
        self._priced = [list(scenario.classes).index(name) for name in scenario.priced_classes]
        self._price_bounds = tuple(
            np.array([getattr(factor, end) for factor in scenario.priced_classes.values()]) for end in ("low", "high")
        )
        self._mean_rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
        self._floor = np.array([pool.gpu_spec.clock_floor_fraction for pool in scenario.pools.values()])
        self.table = self._segments()
        self._routes, self._clocks, self._awake, self._rates, self._batteries, self._affinities, self._prices = (
            part.columns for part in self.table
        )
        self._width = self._prices.stop
        self.space = Box(-1.0, 1.0, (self._width,), np.float32)
        self._fixed_share = np.where(has_choice, 0.0, self.capacity_share)
        self._route_columns = self._route_class * len(scenario.pools) + self._route_pool
        self._route_capacity = self.capacity_share[self._route_class, self._route_pool]
        _, self._class_start, self._route_run = np.unique(self._route_class, return_index=True, return_inverse=True)
        self._gain, self._bias, self._low, self._high = self._affine()
        self._unlimited_rps = self._high[self._rates]

    def decode(self, action: NDArray[np.generic]) -> Controls:
        """Controls that rows `[N, A]` stand for; entries outside [-1, 1] count as the nearer end.

        Raises:
            ValueError: wrong shape, or NaN.
        """
        shape = np.shape(action)
        if len(shape) != 2 or shape[1] != self._width:
            raise ValueError(f"actions must have shape [N, {self._width}] (got {list(shape)})")
        physical: Float64Array = np.multiply(action, self._gain, dtype=np.float64)
        physical += self._bias
        # Every control rises with its entry: cutting it here cuts the entry to [-1, 1], infinite ones too.
        np.maximum(physical, self._low, out=physical)
        np.minimum(physical, self._high, out=physical)
        if math.isnan(np.add.reduce(physical, axis=None)):
            where = np.argwhere(np.isnan(np.asarray(action, dtype=np.float64))).tolist()
            raise ValueError(f"actions hold NaN in entries {where[:5]} ([env, entry])")
        rates = physical[:, self._rates]
        np.copyto(rates, np.inf, where=rates >= self._unlimited_rps)
        return Controls(
            route_share=self._route_share(physical[:, self._routes]),
            clock_fraction=physical[:, self._clocks],
            awake_fraction=physical[:, self._awake],
            admit_rate_rps=rates,
            battery_power_w=self._battery_power_w(physical[:, self._batteries]),
            prefix_affinity=self._of_some_classes(physical[:, self._affinities], self._returning),
            token_price_factor=self._of_some_classes(physical[:, self._prices], self._priced),
        )

    def encode(self, controls: Controls) -> Float32Array:
        """The action `[N, A]` that means `controls`; `decode` of it gives them back up to float32.

        What the box cannot say becomes the nearest it can: a class whose shares are all 0 is routed by capacity, and a
        rate above four times the class's mean is no limit.
        """
        action = np.zeros((controls.num_envs, self._width))
        action[:, self._routes] = self._encode_routes(controls.route_share)
        action[:, self._clocks] = (
            2.0 * (controls.clock_fraction - self._floor) / np.maximum(1.0 - self._floor, 1e-12) - 1.0
        )
        action[:, self._awake] = controls.awake_fraction / 2.0 - 1.0
        highest_rps = np.maximum(self._unlimited_rps, 1e-12)
        finite_rps = np.where(np.isinf(controls.admit_rate_rps), 0.0, controls.admit_rate_rps)
        action[:, self._rates] = np.where(
            np.isinf(controls.admit_rate_rps), 1.0, np.minimum(finite_rps / highest_rps, 1.0) - 1.0
        )
        if controls.battery_power_w is not None:
            action[:, self._batteries] = controls.battery_power_w[:, self._battery_sites] / self._battery_w
        if controls.prefix_affinity is not None:
            action[:, self._affinities] = (
                np.minimum(controls.prefix_affinity[:, self._returning], HIGHEST_AFFINITY) - 1.0
            )
        factor = np.ones((1, len(self._mean_rate_rps)))
        factor = factor if controls.token_price_factor is None else controls.token_price_factor
        low, high = self._low[self._prices], self._high[self._prices]
        action[:, self._prices] = 2.0 * (factor[:, self._priced] - low) / (high - low) - 1.0
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _battery_power_w(self, power_w: Float64Array) -> Float64Array | None:
        """The control `[N, S]` from the powers of the batteries, `[N, B]`; None where there are none."""
        if not self._battery_sites:
            return None
        control = np.zeros((len(power_w), len(self.scenario.sites)))
        control[:, self._battery_sites] = power_w
        return control

    def _of_some_classes(self, values: Float64Array, classes: list[int]) -> Float64Array | None:
        """A control `[N, K]` from the `values` of some classes, 1 for the others; None where there are none."""
        if not classes:
            return None
        control = np.ones((len(values), len(self.scenario.classes)))
        control[:, classes] = values
        return control

    def _route_share(self, weight: Float64Array) -> Float64Array:
        """Shares `[N, K, P]` from the weights of the open routes, `[N, R]`."""
        classes, pools = self._fixed_share.shape
        share = np.empty((len(weight), classes * pools))
        share[:] = self._fixed_share.ravel()
        if weight.shape[1]:
            # The routes of a class stand side by side, so that sums of runs are sums by class.
            total = np.add.reduceat(weight, self._class_start, axis=1)
            if not total.all():
                closed = total[:, self._route_run] == 0.0
                weight = np.where(closed, self._route_capacity, weight)
                total = np.add.reduceat(weight, self._class_start, axis=1)
            share[:, self._route_columns] = weight / total.take(self._route_run, axis=1)
        return share.reshape(-1, classes, pools)

    def _encode_routes(self, route_share: Float64Array) -> Float64Array:
        capacity = np.where(self.capacity_rps > 0.0, self.capacity_rps, 1.0)
        weight = np.where(self.capacity_rps > 0.0, route_share / capacity, 0.0)
        highest = weight.max(axis=2, keepdims=True)
        weight = weight / np.where(highest > 0.0, highest, 1.0)
        return 2.0 * weight[:, self._route_class, self._route_pool] - 1.0

    def _affine(self) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Gain, bias, lowest and highest physical value of every entry, `[A]` each."""
        capacity = self._route_capacity
        half_range = (1.0 - self._floor) / 2.0
        pools = np.ones(len(self._floor))
        rates = ADMISSION_HEADROOM * self._mean_rate_rps
        nothing = np.zeros_like
        battery_w, ones = self._battery_w, np.ones(len(self._returning))
        lowest, highest = self._price_bounds
        gain = np.concatenate(
            [capacity / 2.0, half_range, 2.0 * pools, rates, battery_w, ones, (highest - lowest) / 2.0]
        )
        middle = [capacity / 2.0, self._floor + half_range, 2.0 * pools, rates, nothing(battery_w), ones]
        low = [nothing(capacity), self._floor, nothing(pools), nothing(rates), -battery_w, nothing(ones), lowest]
        return (
            # A gain of zero (a class without demand) would make NaN of an infinite entry.
            np.maximum(gain, np.finfo(np.float64).tiny),
            np.concatenate([*middle, (lowest + highest) / 2.0]),
            np.concatenate(low),
            np.concatenate([capacity, pools, pools, rates, battery_w, HIGHEST_AFFINITY * ones, highest]),
        )

    def _segments(self) -> tuple[Segment, ...]:
        pools, classes = tuple(self.scenario.pools), tuple(self.scenario.classes)
        pairs = tuple(f"{classes[k]} to {pools[p]}" for k, p in zip(self._route_class, self._route_pool, strict=True))
        batteries = tuple(self.scenario.batteries)
        sizes = (len(pairs), len(pools), len(pools), len(classes), len(batteries), len(self._returning))
        first = np.cumsum([0, *sizes]).tolist()
        return (
            Segment(
                name="route_weight",
                per="class and pool, of classes with a choice",
                first=first[0],
                labels=pairs,
                unit="share",
                low="closed",
                high="twice the weight",
                formula="`(a + 1) / 2 * capacity`, over its sum for the class",
                doc="Where a class's requests go; with every route of a class closed, capacity decides.",
            ),
            Segment(
                name="clock_fraction",
                per="pool",
                first=first[1],
                labels=pools,
                unit="share",
                low="clock floor",
                high="1",
                formula="`floor + (1 - floor) * (a + 1) / 2`",
                doc="GPU clock over the highest clock.",
            ),
            Segment(
                name="awake_fraction",
                per="pool",
                first=first[2],
                labels=pools,
                unit="share",
                low="0",
                high="1 (from a = -0.5)",
                formula="`min(1, 2 * (a + 1))`",
                doc="Replicas that should be awake, rounded up to whole ones.",
            ),
            Segment(
                name="admit_rate_rps",
                per="class",
                first=first[3],
                labels=classes,
                unit="requests/s",
                low="0",
                high="no limit (from a = 0)",
                formula="`(1 + a) * 4 * mean rate` below 0, else no limit",
                doc="Admission limit of an interactive class; release rate of a deferrable one.",
            ),
            Segment(
                name="battery_power",
                per="site with a battery",
                first=first[4],
                labels=batteries,
                unit="W",
                low="charge at full power",
                high="discharge at full power",
                formula="`a * power_w`",
                doc="What the battery is asked for; it gives what it holds, and no more than the site draws.",
            ),
            Segment(
                name="prefix_affinity",
                per="class whose calls may find their conversation in a prefix cache",
                first=first[5],
                labels=tuple(classes[k] for k in self._returning),
                unit="tokens/token",
                low="0, load alone",
                high="2",
                formula="`1 + a`",
                doc="How much longer a queue a call accepts where its conversation is, for each cached token.",
            ),
            Segment(
                name="token_price_factor",
                per="class whose token price may be moved",
                first=first[6],
                labels=tuple(self.scenario.priced_classes),
                unit="share",
                low="the lowest factor of the class",
                high="the highest",
                formula="`low + (high - low) * (a + 1) / 2`",
                doc="Token price over the list price; a client whose tolerance is below it declines.",
            ),
        )


def returning_classes(scenario: Scenario) -> list[int]:
    """Indices of the classes that a pool with a prefix cache serves."""
    caches = np.array([pool.prefix_cache for pool in scenario.pools.values()])
    found: list[int] = np.flatnonzero((scenario.route_mask & caches).any(axis=1)).tolist()
    return found
