"""Where the entities of any drawn fleet stand in arrays of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.generator import Ranges
from tokenfleet.policies.generalist.law import SETPOINTS
from tokenfleet.policies.generalist.neighbours import subject

Float32Array = NDArray[np.float32]
NOWHERE = -1

ENTITIES = {
    "power_share": ("sites",),
    "brake_share": ("sites",),
    "clock_bias": ("pools",),
    "awake_replicas": ("pools",),
    "route_bias": ("classes", "pools"),
}
"""What a set-point has slots for; any other one has them for classes."""


@dataclass(frozen=True)
class Slots:
    """Slots for entities, in the order in which a scenario lists them; fleets leave the last ones empty.

    Attributes:
        sites, pools, classes: how many slots there are for each.
    """

    sites: int
    pools: int
    classes: int

    @classmethod
    def of_ranges(cls, ranges: Ranges) -> Slots:
        """Enough for every fleet that ranges can bring, in any split."""
        sites, models = max(*ranges.sites, *ranges.held_out.sites, 1), max(ranges.models_of_fleet)
        servers = 2 if ranges.second_pool > 0.0 else 1
        return cls(sites, sites * models * servers, models * max(ranges.kinds_of_model))

    def shape(self, setpoint: str) -> tuple[int, ...]:
        """Slots of a set-point: sites, pools, classes, or classes by pools."""
        return tuple(getattr(self, entities) for entities in ENTITIES.get(setpoint, ("classes",)))

    @property
    def table(self) -> dict[str, slice]:
        """The columns of each set-point in an action, in the order of `SETPOINTS`."""
        ends = np.cumsum([0, *(np.prod(self.shape(setpoint)) for setpoint in SETPOINTS)]).tolist()
        return {setpoint: slice(*ends[i : i + 2]) for i, setpoint in enumerate(SETPOINTS)}

    @property
    def width(self) -> int:
        """Entries of an action, A."""
        return int(self.table[SETPOINTS[-1]].stop)

    @property
    def still_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what `still` gives."""
        return {
            "site_mask": (self.sites,),
            "pool_mask": (self.pools,),
            "class_mask": (self.classes,),
            "pool_site": (self.pools, self.sites),
            "class_pool": (self.classes, self.pools),
            "action_mask": (self.width,),
        }

    def columns(self, scenario: Scenario, table: Sequence[Segment]) -> NDArray[np.int64]:
        """The column of the fleet's own action `setpoints` that each entry moves, `[A]`; `NOWHERE` for none."""
        found, places = np.full(self.width, NOWHERE), self.table
        names = {"site": list(scenario.sites), "pool": list(scenario.pools), "class": list(scenario.classes)}
        for segment in (segment for segment in table if segment.name in places):
            slots = np.arange(self.width)[places[segment.name]].reshape(self.shape(segment.name))
            for offset, label in enumerate(segment.labels):
                slot = tuple(names[kind].index(name) for kind, name in subject(segment, label).items())
                found[slots[slot]] = segment.columns.start + offset
        return found

    def still(self, scenario: Scenario, columns: NDArray[np.int64]) -> dict[str, Float32Array]:
        """What a fleet is: its slots, what stands where and serves whom, and which entries of an action act."""
        pools, sites = scenario.pools.values(), list(scenario.sites)
        told = {
            "site_mask": np.ones(len(sites)),
            "pool_mask": np.ones(len(pools)),
            "class_mask": np.ones(len(scenario.classes)),
            "pool_site": np.array([[pool.site == site for site in sites] for pool in pools]),
            "class_pool": scenario.route_mask,
            "action_mask": columns != NOWHERE,
        }
        return {name: _padded(values, self.still_shapes[name]) for name, values in told.items()}


def _padded(values: NDArray[Any], shape: tuple[int, ...]) -> Float32Array:
    padded = np.zeros(shape, np.float32)
    padded[tuple(map(slice, values.shape))] = values
    return padded
