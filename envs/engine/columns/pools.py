"""Columns of pools, `[P]` or `[P, J]`; watts and joules are per replica, over all its GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.classes import place
from tokenfleet.envs.engine.columns.ticks import MANY, whole_ticks
from tokenfleet.envs.layers.facility import FacilitySpec
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import at_tokens
from tokenfleet.envs.quantities import quantity
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.pools import PoolSpec

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class PoolSource:
    """What the columns of one pool are read from."""

    name: str
    spec: PoolSpec
    scenario: Scenario

    @property
    def coefficients(self) -> Coefficients:
        """What an iteration of a replica takes."""
        return self.spec.coefficients

    @property
    def facility(self) -> FacilitySpec:
        """Of the pool's site."""
        return self.scenario.sites[self.spec.site].facility

    @property
    def decodes(self) -> PoolSpec:
        """The pool that decodes what this one has prefilled."""
        return self.spec if self.spec.hand_off_to is None else self.scenario.pools[self.spec.hand_off_to]

    @property
    def takes_over(self) -> bool:
        """Whether some pool hands off to this one."""
        return any(pool.hand_off_to == self.name for pool in self.scenario.pools.values())

    @property
    def host_asleep_w_per_gpu(self) -> float:
        """Of a server whose replica is asleep [W]."""
        cold = self.spec.cold
        return self.facility.host_asleep_w_per_gpu if cold is None else cold.host_w_per_gpu

    @property
    def host_standby_w_per_gpu(self) -> float:
        """Of a server whose replica stands by [W]."""
        standby = self.spec.standby
        given = None if standby is None else standby.host_w_per_gpu
        return self.facility.host_w_per_gpu if given is None else given

    def pool_index(self, name: str | None) -> int:
        """Place of a pool, -1 for none."""
        return -1 if name is None else list(self.scenario.pools).index(name)

    def row_index(self, name: str | None) -> int:
        """Place of a row of the pool's site, -1 for none."""
        rows = list(self.scenario.rows)
        return -1 if name is None else rows.index((self.spec.site, name))

    def boards(self, value: float) -> float:
        """A quantity of one board, for all boards of a replica."""
        return self.spec.parallelism.boards * value


def _iteration(name: str) -> Callable[[PoolSource], Any]:
    return lambda pool: getattr(pool.coefficients, name)


@dataclass(frozen=True)
class PoolShape:
    """Where pools stand, and what they hold."""

    site: Int64Array = quantity(
        "P", "", "Index of the site.", lambda p: list(p.scenario.sites).index(p.spec.site), low=0, index_of="S"
    )
    row: Int64Array = quantity(
        "P",
        "",
        "Index of the row, -1 without one.",
        lambda p: p.row_index(p.spec.row),
        neutral=-1,
        low=-1,
        index_of="W",
    )
    whole_site_row: Int64Array = quantity(
        "P",
        "",
        "Index of the row that all pools of the site are behind, -1 without one.",
        lambda p: p.row_index(p.facility.whole_site_row),
        low=-1,
        index_of="W",
        neutral=-1,
    )
    replicas: Int64Array = quantity("P", "", "Replicas.", lambda p: p.spec.replicas, neutral=1, low=1, high=2**20)
    max_batch: Int64Array = quantity(
        "P", "sequences", "Most in a batch.", lambda p: p.spec.max_batch, neutral=64, low=1, high=MANY
    )
    token_budget: Int64Array = quantity(
        "P", "tokens", "Most in an iteration.", lambda p: p.spec.token_budget, neutral=1_000_000, low=1, high=MANY
    )
    context_limit_tokens: Int64Array = quantity(
        "P",
        "tokens",
        "Longest context that fits, here and where it is decoded.",
        lambda p: min(p.spec.shortest_kv_tokens, p.decodes.shortest_kv_tokens),
        neutral=10_000_000,
    )
    variant: Int64Array = quantity(
        "P",
        "",
        "Place among the pools with a variant of their model, -1 for another.",
        lambda p: place(p.name, list(p.scenario.variants)),
        low=-1,
        index_of="v",
        neutral=-1,
    )
    unsteady: Int64Array = quantity(
        "P",
        "",
        "Place among the pools whose clock sensitivity changes, -1 for another.",
        lambda p: place(p.name, list(p.scenario.unsteady_pools)),
        low=-1,
        index_of="k",
        neutral=-1,
    )
    kv_grows: BoolArray = quantity(
        "P",
        "",
        "Space for a sequence is taken token by token, not for its whole answer at once.",
        lambda p: p.spec.kv_grows,
    )
    prefix_block_tokens: Int64Array = quantity(
        "P",
        "tokens",
        "Block of the prefix cache; 0 without one.",
        lambda p: p.spec.prefix_block_tokens if p.spec.prefix_cache else 0,
        low=0,
        high=MANY - 1,
    )
    hand_off_to: Int64Array = quantity(
        "P",
        "",
        "Index of the pool that decodes what this one has prefilled, -1 for itself.",
        lambda p: p.pool_index(p.spec.hand_off_to),
        low=-1,
        index_of="P",
        neutral=-1,
    )
    takes_over: BoolArray = quantity("P", "", "Some pool hands off to this one.", lambda p: p.takes_over)
    migrates_prefixes: BoolArray = quantity(
        "P", "", "Cached beginnings are fetched from where they are.", lambda p: p.spec.migrate_prefixes
    )
    ranks_classes: BoolArray = quantity(
        "P", "", "The queue looks at priorities and reserved seats.", lambda p: p.scenario.ranks_classes(p.name)
    )
    kv_bytes_per_token: Float64Array = quantity(
        "P", "bytes/token", "Size of the KV cache.", lambda p: p.spec.model_spec.kv_bytes_per_token, neutral=1.0
    )
    prompt_token_s: Float64Array = quantity(
        "P",
        "s/token",
        "Of prefill at full clock without attention: what a prefix saves.",
        lambda p: at_tokens(p.spec.profile.token_s, p.spec.token_budget) / p.spec.token_budget,
    )
    clock_latency_ticks: Int64Array = quantity(
        "P",
        "ticks",
        "Until a clock that was asked for is in force.",
        lambda p: whole_ticks(p.spec.clock_latency_s, p.scenario.tick_s),
        low=0,
        high=MANY,
    )
    standby: Int64Array = quantity(
        "P",
        "",
        "Place among the pools whose replicas can stand by, -1 for another.",
        lambda p: place(p.name, list(p.scenario.standby_pools)),
        low=-1,
        index_of="p",
        neutral=-1,
    )


@dataclass(frozen=True)
class PoolPhysics:
    """What boards and servers of a replica draw, and how that follows their clock; see `layers.llm.iteration`."""

    static_w: Float64Array = quantity("P", "W", "Busy, whatever the clock.", _iteration("static_w"))
    floor_w: Float64Array = quantity("P", "W", "Busy, times F V(F)^2.", _iteration("floor_w"))
    core_byte_fraction: Float64Array = quantity(
        "P", "", "Share of `work_j` that costs V(F)^2.", _iteration("core_byte_fraction")
    )
    core_context_fraction: Float64Array = quantity(
        "P", "", "Share of `context_j` that costs V(F)^2.", _iteration("core_context_fraction")
    )
    knee_fraction: Float64Array = quantity(
        "P", "", "Where the shoulder begins, from busy without work to limit.", _iteration("knee_fraction"), neutral=1.0
    )
    shoulder_slope: Float64Array = quantity(
        "P", "W/W", "For each further watt of work beyond the knee.", _iteration("shoulder_slope"), neutral=1.0
    )
    limit_w: Float64Array = quantity("P", "W", "Boards never draw more.", _iteration("limit_w"), neutral=1e9)
    idle_w: Float64Array = quantity(
        "P", "W", "Boards, model loaded, nothing running.", lambda p: p.boards(p.spec.gpu_spec.idle_w)
    )
    asleep_w: Float64Array = quantity("P", "W", "Boards, asleep.", lambda p: p.boards(p.spec.asleep_w))
    standby_w: Float64Array = quantity("P", "W", "Boards, standing by.", lambda p: p.boards(p.spec.standby_w))
    host_w: Float64Array = quantity(
        "P", "W", "Servers, on, boards apart.", lambda p: p.boards(p.facility.host_w_per_gpu)
    )
    host_w_per_board_w: Float64Array = quantity(
        "P", "W/W", "Servers, for each watt of their boards.", lambda p: p.facility.host_w_per_board_w
    )
    host_asleep_w: Float64Array = quantity("P", "W", "Servers, asleep.", lambda p: p.boards(p.host_asleep_w_per_gpu))
    host_standby_w: Float64Array = quantity(
        "P", "W", "Servers, standing by.", lambda p: p.boards(p.host_standby_w_per_gpu)
    )
    voltage_floor_fraction: Float64Array = quantity(
        "P", "", "Clock below which voltage no longer falls.", _iteration("voltage_floor_fraction"), neutral=0.76
    )
    clock_floor_fraction: Float64Array = quantity(
        "P", "", "Lowest clock that may be set.", lambda p: p.spec.gpu_spec.clock_floor_fraction, neutral=0.1
    )
