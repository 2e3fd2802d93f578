"""Where searches look: a few directions in which plans differ, not every number of a plan.

Directions of the base are single entries of the action, but biases of routing are shared by the classes of a pool, and
all classes share the spread. A *dial* moves all entries of one group with one feature: awake replicas by cap, token
prices by demand. A screen probes every dial with a reason, and searches the few that gain most. A probe may move the
middle of its entries too: more replicas than before where the cap is high, and as many as before where it is low.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.policies.heuristics.linear.features import NAMES, FeatureScale

Float64Array = NDArray[np.float64]
Table = tuple[Segment, ...]

PROBED_GAIN, MOST_DIALS = 0.3, 8
"""Gain at which a dial is probed; and how many of the best are searched."""
HELD = "backlog_limit of deferrable classes"
REASONS: dict[str, tuple[str, ...]] = {
    "power_share": ("price", "backlog", "demand", "room", "time to event", "event chance"),
    "brake_share": ("backlog", "cap"),
    "route_bias": ("cap", "price", "room", "awake"),
    "awake_replicas": (
        "cap", "cap to come", "cap elsewhere", "price", "price to come", "price elsewhere", "backlog", "demand", "room",
        "battery", "time to event", "event chance", "event chance elsewhere",
    ),
    "backlog_limit": ("cap", "cap to come", "price", "demand", "awake", "declined"),
    HELD: (
        "cap", "cap to come", "price", "price to come", "backlog", "demand", "room", "battery", "event chance", "time",
    ),
    "battery_charge": (
        "cap", "cap to come", "price", "price to come", "backlog", "demand", "time to event", "event chance",
    ),
    "token_price_factor": ("cap", "cap to come", "price", "backlog", "demand", "declined", "awake", "event chance"),
    "training_share": ("cap", "cap to come", "price", "price to come", "backlog", "demand", "room", "battery"),
    "standby_fraction": (
        "cap", "cap to come", "price", "price to come", "backlog", "demand", "time to event", "event chance",
    ),
    "variant_fraction": (
        "cap", "cap to come", "price", "price to come", "backlog", "demand", "time to event", "event chance",
    ),
}  # fmt: skip
"""By group of entries, the features for which a reason is known why the best set-point may depend on them."""


@dataclass(frozen=True)
class Dial:
    """One gain for all entries of a group.

    Attributes:
        group: name of the entries.
        feature: that they follow.
        columns: of the entries.
    """

    group: str
    feature: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """Plans as few numbers: along directions from a start, then gains of dials.

    Attributes:
        start: entries of the action where all numbers are 0, `[A]`.
        directions: what each of the first numbers adds to them, `[D, A]`.
        dials: what each number behind them is the gain of.
    """

    start: Float64Array
    directions: Float64Array
    dials: tuple[Dial, ...] = ()

    def plans(self, numbers: Float64Array) -> Plans:
        """Plans of numbers, `[B, D + number of dials]`."""
        width = len(self.directions)
        base = np.clip(self.start + numbers[:, :width] @ self.directions, -1.0, 1.0)
        if not self.dials:
            return Plans(base)
        gains = np.zeros((*base.shape, len(NAMES)))
        for number, dial in zip(numbers[:, width:].T, self.dials, strict=True):
            gains[:, list(dial.columns), NAMES.index(dial.feature)] = number[:, None]
        return Plans(base, gains)


def directions(scenario: Scenario, table: Table) -> Float64Array:
    """What searches move of an action's entries, `[D, A]`."""
    entries = sum(len(segment.labels) for segment in table)
    rows = []
    for segment in table:
        columns = np.arange(segment.first, segment.first + len(segment.labels))
        for shared in _shared(segment, scenario):
            row = np.zeros(entries)
            row[columns[shared]] = 1.0
            rows.append(row)
    return np.array(rows)


def _shared(segment: Segment, scenario: Scenario) -> list[list[int]]:
    """Entries of a segment, by their offset, that move together."""
    offsets = range(len(segment.labels))
    if segment.name == "route_bias":
        pools = [label.rpartition(" to ")[2] for label in segment.labels]
        return [[offset for offset in offsets if pools[offset] == pool] for pool in scenario.pools if pool in pools]
    if segment.name == "route_spread" and segment.labels:
        return [list(offsets)]
    return [[offset] for offset in offsets]


def groups(scenario: Scenario, table: Table) -> dict[str, tuple[int, ...]]:
    """Columns of the entries that dials move, by group."""
    found: dict[str, tuple[int, ...]] = {}
    for segment in table:
        for offset, label in enumerate(segment.labels):
            held = segment.name == "backlog_limit" and scenario.classes[label].deferrable
            group = HELD if held else segment.name
            if group in REASONS:
                found[group] = (*found.get(group, ()), segment.first + offset)
    return found


def dials(scenario: Scenario, table: Table, scale: FeatureScale) -> tuple[Dial, ...]:
    """Every dial with a reason and a feature that moves."""
    moving = {name for name, moves in zip(NAMES, np.any(scale.moves, axis=0).tolist(), strict=True) if moves}
    return tuple(
        Dial(group, feature, columns)
        for group, columns in groups(scenario, table).items()
        for feature in REASONS[group]
        if feature in moving
    )


@dataclass(frozen=True)
class Probe:
    """One dial turned, and the base of its entries moved.

    Attributes:
        dial: its place among the space's dials.
        gain: of the dial.
        offset: of the entries.
    """

    dial: int
    gain: float
    offset: float


def probes(space: Space, gain: float) -> list[Probe]:
    """Every dial turned either way, with its entries' base held or moved by as much either way."""
    return [
        Probe(dial, sign * gain, offset * gain)
        for dial in range(len(space.dials))
        for sign in (1.0, -1.0)
        for offset in (0.0, 1.0, -1.0)
    ]


def best_by_dial(candidates: Sequence[Probe], gained: Sequence[float], count: int) -> list[Probe]:
    """The best probe of each dial, of the so many dials that gain most, the best first."""
    order = sorted(range(len(candidates)), key=lambda index: -gained[index])
    best: dict[int, Probe] = {}
    for index in order:
        best.setdefault(candidates[index].dial, candidates[index])
    return list(best.values())[:count]


def numbers_of(space: Space, turned: Sequence[Probe]) -> Float64Array:
    """The numbers of some dials turned at once, `[D + dials]`; of the dials of one group the first moves its base."""
    width = len(space.directions)
    numbers = np.zeros(width + len(space.dials))
    moved: set[str] = set()
    for probe in turned:
        dial = space.dials[probe.dial]
        numbers[width + probe.dial] = probe.gain
        if dial.group not in moved:
            moved.add(dial.group)
            touches = space.directions[:, list(dial.columns)].any(axis=1)
            numbers[:width][touches] += probe.offset
    return numbers


def narrowed(space: Space, numbers: Float64Array, kept: Sequence[int]) -> tuple[Space, Float64Array]:
    """The space of some of the dials and of the base of their entries around a plan, and what the plan is there."""
    width = len(space.directions)
    some = tuple(space.dials[dial] for dial in kept)
    columns = sorted({column for dial in some for column in dial.columns})
    start = space.start + numbers[:width] @ space.directions
    near = space.directions[space.directions[:, columns].any(axis=1)]
    return Space(start, near, some), np.concatenate([np.zeros(len(near)), numbers[width:][list(kept)]])


def best_together(
    space: Space, alone: Sequence[Probe], gained: Sequence[float], together: Callable[[list[list[Probe]]], list[float]]
) -> tuple[Space, Float64Array]:
    """Where feedback is searched, and the best numbers there so far.

    Args:
        space: of the dials.
        alone: probes of one dial each.
        gained: merits of these probes.
        together: gives merits of sets of probes; the sets are the best dial, the two best, and so on.
    """
    best = best_by_dial(alone, gained, MOST_DIALS)
    sets = [best[: count + 1] for count in range(len(best))]
    numbers = numbers_of(space, sets[int(np.argmax(together(sets)))])
    return narrowed(space, numbers, sorted(probe.dial for probe in best))
