"""Scenario to flat arrays: what both engines read, every value in SI units."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.classes import ClassColumns, ClassSource
from tokenfleet.envs.engine.columns.models import ModelColumns, ModelSource
from tokenfleet.envs.engine.columns.nodes import NodeColumns, NodeSource
from tokenfleet.envs.engine.columns.pools import PoolPhysics, PoolShape, PoolSource
from tokenfleet.envs.engine.columns.sites import SiteColumns, SiteSource
from tokenfleet.envs.engine.columns.ticks import MANY
from tokenfleet.envs.fields import EXOGENOUS, OUTCOMES, VIEW
from tokenfleet.envs.layers.agents import MAX_TIERS
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.quantities import neutral_arrays, quantities_of, quantity, read_quantities
from tokenfleet.envs.rows import Layout
from tokenfleet.envs.scenario import Scenario, network
from tokenfleet.envs.scenario.axes import axis_sizes

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

OPTIONAL_AXES = "MCUXQOZipsvk"
"""Axes that a fleet built by hand may leave empty: agreements about money, further forecasts, regimes, depths of sleep,
training, variants."""
ITERATION = tuple(field.name for field in fields(Coefficients) if field.name != "decode_memory_fraction")
"""The coefficients of an iteration that every episode of a fleet shares."""


def models(count: int, **columns: Any) -> ModelColumns:
    """So many models with neutral columns, but for the given ones; their values broadcast."""
    neutral = neutral_arrays(ModelColumns, {"P": count, "J": len(TOKEN_KNOTS)})
    given = {
        name: np.array(np.broadcast_to(value, neutral[name].shape), neutral[name].dtype)
        for name, value in columns.items()
    }
    return ModelColumns(**{**neutral, **given})


@dataclass(frozen=True)
class Links:
    """What lies between two: pools, classes and pools, regions and sites."""

    route_mask: BoolArray = quantity("KP", "", "Pools that serve the class.", lambda s: s.route_mask, neutral=True)
    network_s: Float64Array = quantity("GS", "s", "One way between region and site.", network.network_s, low=0.0)
    upload_token_s: Float64Array = quantity(
        "G", "s", "On the line of a region's clients, for each token of a prompt.", network.upload_token_s, low=0.0
    )
    kv_latency_s: Float64Array = quantity("PP", "s", "One way from pool to pool.", network.kv_latency_s, low=0.0)
    reserved_seats: Int64Array = quantity(
        "PK",
        "",
        "Seats of each replica's batch that are kept for a class.",
        lambda s: s.reserved_seats,
        low=0,
        high=MANY,
    )
    kv_token_s: Float64Array = quantity("PP", "s", "On the line, for each token of KV cache.", network.kv_token_s)


@dataclass(frozen=True, kw_only=True)
class FleetArrays(PoolShape, ModelColumns, PoolPhysics, ClassColumns, SiteColumns, NodeColumns, Links):
    """A fleet of S sites, W rows, P pools and K request classes.

    A *power node* is what a cap is watched at: the grid connections of all sites, then all rows, D = S + W.

    Attributes:
        tick_s: time between two decisions [s].
        horizon_ticks: ticks of an episode.
        variants: the variants of pools, `[v]` where pools have `[P]`.
        view: layout of the float32 row that an engine writes.
        outcome: layout of the float64 row that an engine writes.
    """

    tick_s: float
    horizon_ticks: int
    variants: ModelColumns
    view: Layout
    outcome: Layout

    @classmethod
    def from_scenario(cls, scenario: Scenario) -> FleetArrays:
        """Flatten a validated scenario, once: all who ask for the same scenario's get the same arrays."""
        return scenario.derived(cls._of)

    @classmethod
    def _of(cls, scenario: Scenario) -> FleetArrays:
        nodes = [*(site.grid for site in scenario.sites.values()), *scenario.rows.values()]
        pools = [PoolSource(*item, scenario) for item in scenario.pools.items()]
        columns: dict[str, Any] = {
            **read_quantities(PoolShape, pools),
            **read_quantities(ModelColumns, [ModelSource(pool, 1.0) for pool in scenario.pools.values()]),
            **read_quantities(PoolPhysics, pools),
            **read_quantities(ClassColumns, [ClassSource(*item, scenario) for item in scenario.classes.items()]),
            **read_quantities(SiteColumns, [SiteSource(name, scenario) for name in scenario.sites]),
            **read_quantities(NodeColumns, [NodeSource(spec, scenario.tick_s) for spec in nodes]),
            **{link.name: link.of(scenario) for link in quantities_of(Links)},
        }
        variants = [
            ModelSource(scenario.pools[name].switched, spec.quality) for name, spec in scenario.variants.items()
        ]
        columns["variants"] = ModelColumns(**read_quantities(ModelColumns, variants)) if variants else models(0)
        return cls._laid_out(scenario.tick_s, scenario.horizon_ticks, axis_sizes(scenario), columns)

    @classmethod
    def neutral(cls, tick_s: float, horizon_ticks: int, sizes: Mapping[str, int], **columns: Any) -> FleetArrays:
        """A fleet whose columns do nothing, or do it plainly, but for the given ones.

        Args:
            tick_s: time between two decisions [s].
            horizon_ticks: ticks of an episode.
            sizes: length of each axis letter of `tokenfleet.envs.fields`; G, the regions, is 1 where it is missing, and
                those of `OPTIONAL_AXES` are 0.
            columns: arrays by name; values that broadcast to the column's shape are enough. `variants` are such
                `models`.

        Raises:
            TypeError: a fleet has no such column.
        """
        sizes = {**dict.fromkeys(OPTIONAL_AXES, 0), **sizes}
        every = {"G": 1, **sizes, "D": sizes["S"] + sizes["W"], "J": len(TOKEN_KNOTS), "Y": MAX_TIERS}
        values: dict[str, Any] = neutral_arrays(cls, every)
        variants = columns.pop("variants", models(sizes["v"]))
        unknown = columns.keys() - values
        if unknown:
            raise TypeError(f"no columns of a fleet: {', '.join(sorted(unknown))}")
        for name, value in columns.items():
            values[name] = np.array(np.broadcast_to(value, values[name].shape), values[name].dtype)
        return cls._laid_out(tick_s, horizon_ticks, sizes, {**values, "variants": variants})

    @classmethod
    def _laid_out(
        cls, tick_s: float, horizon_ticks: int, sizes: Mapping[str, int], columns: dict[str, Any]
    ) -> FleetArrays:
        view, outcome = Layout(VIEW, sizes), Layout(OUTCOMES, sizes)
        return cls(tick_s=tick_s, horizon_ticks=horizon_ticks, view=view, outcome=outcome, **columns)

    @cached_property
    def switched(self) -> FleetArrays:
        """The same fleet with the variant in the place of the own model, wherever a pool has one."""
        has = self.variant >= 0
        if not has.any():
            return self
        columns = {}
        for column in quantities_of(ModelColumns):
            values = getattr(self, column.name).copy()
            values[has] = getattr(self.variants, column.name)[self.variant[has]]
            columns[column.name] = values
        return replace(self, **columns)

    def coefficients(self, decode_memory_fraction: Float64Array) -> Coefficients:
        """Coefficients of each pool's iterations, `[P]`, by the episode's share of decode time, `[P]`."""
        shared = {name: getattr(self, name) for name in ITERATION}
        return Coefficients(**shared, decode_memory_fraction=decode_memory_fraction)

    def switched_coefficients(
        self, decode_memory_fraction: Float64Array, variant_memory_fraction: Float64Array
    ) -> Coefficients:
        """The same of `switched`, by what an episode has drawn for own models, `[P]`, and for variants, `[v]`."""
        has = self.variant >= 0
        fraction = decode_memory_fraction.copy()
        fraction[has] = variant_memory_fraction[self.variant[has]]
        return self.switched.coefficients(fraction)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Length of each axis letter of `tokenfleet.envs.fields.AXES` but N and A."""
        return {
            **self.view.sizes,
            "H": self.horizon_ticks,
            "I": self.horizon_ticks + 1,
            "E": self.view.width - self.view.offsets[EXOGENOUS[0].name],
            "D": self.num_sites + self.num_rows,
            "J": len(TOKEN_KNOTS),
            "Y": MAX_TIERS,
            "G": len(self.network_s),
        }

    @cached_property
    def digest(self) -> str:
        """Equal for fleets that do the same in the same episode under the same controls."""
        known = hashlib.sha256(repr((self.tick_s, self.horizon_ticks, sorted(self.sizes.items()))).encode())
        for column in quantities_of(FleetArrays):
            known.update(column.name.encode() + getattr(self, column.name).tobytes())
        for column in quantities_of(ModelColumns):
            known.update(column.name.encode() + getattr(self.variants, column.name).tobytes())
        return known.hexdigest()

    @cached_property
    def num_sites(self) -> int:
        """S."""
        return len(self.pue)

    @cached_property
    def num_rows(self) -> int:
        """W."""
        return len(self.meter_window_ticks) - self.num_sites

    @cached_property
    def num_pools(self) -> int:
        """P."""
        return len(self.site)

    @cached_property
    def num_classes(self) -> int:
        """K."""
        return len(self.patience_s)
