"""Scenario to flat arrays: what both engines read, every value in SI units, one line a quantity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.axes import axis_sizes
from tokenfleet.envs.engine.site_arrays import places, site_arrays, whole_ticks
from tokenfleet.envs.fields import OUTCOMES, VIEW, Layout
from tokenfleet.envs.layers.iteration import at_tokens, work_energy
from tokenfleet.envs.layers.ledger import TOKENS_PER_MILLION
from tokenfleet.envs.pools import PoolSpec
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class FleetArrays:
    """A fleet of S sites, W rows, P pools and K request classes.

    Watts and joules of a pool are per replica, over all its GPUs.
    A *power node* is what a cap is watched at: the grid connections of all sites, then all rows, `[S + W]`.
    """

    tick_s: float
    horizon_ticks: int

    # pools, [P] where nothing else is said
    site: Int64Array  # index of the pool's site
    row: Int64Array  # index of the pool's row, -1 without one
    whole_site_row: Int64Array  # index of the row that all pools of its site are behind, -1 without one
    replicas: Int64Array  # replicas in the pool
    max_batch: Int64Array  # sequences
    token_budget: Int64Array  # tokens per iteration
    kv_tokens: Int64Array  # KV cache of a replica, tokens
    clock_latency_ticks: Int64Array  # until a clock that was asked for is in force
    kv_grows: NDArray[np.bool_]  # room for a sequence is taken token by token, not for its whole answer at once
    watermark_tokens: Int64Array  # left free by an admission while others run, tokens
    prefix_block_tokens: Int64Array  # block of the prefix cache, tokens; 0 without one
    host_cache_tokens: Int64Array  # what a replica's host memory holds of prefixes, tokens
    host_load_s: Float64Array  # to take one token back from there
    hand_off_to: Int64Array  # pool that decodes what this one has prefilled, -1 for itself
    takes_over: NDArray[np.bool_]  # some pool hands off to this one
    migrates_prefixes: NDArray[np.bool_]  # cached beginnings are fetched from where they are
    context_limit_tokens: Int64Array  # longest context that fits, here and where it is decoded
    kv_bytes_per_token: Float64Array
    prompt_token_s: Float64Array  # of prefill at full clock without attention, what a prefix saves
    kv_latency_s: Float64Array  # [P, P] one way from pool to pool
    kv_token_s: Float64Array  # [P, P] on the line, for each token of KV cache
    wake_s: Float64Array  # from asleep to awake
    host_s: Float64Array  # per iteration, whatever the clock
    token_s: Float64Array  # [P, J] of an iteration that computes TOKEN_KNOTS[j] tokens
    token_memory_share: Float64Array  # [P, J] share of token_s that is memory-bound
    decode_s: Float64Array  # per decoding sequence
    context_s: Float64Array  # per token of context of the decoding sequences
    mixed_context_s: Float64Array  # the same, more where prompts are prefilled beside them
    prefill_attention_s: Float64Array  # per (query, key) pair of prefill
    prefill_memory_fraction: Float64Array  # share of prefill time that the clock does not scale
    static_w: Float64Array  # busy, whatever the clock
    floor_w: Float64Array  # busy, times F * V(F)^2
    work_j: Float64Array  # [P, J] reading the weights that TOKEN_KNOTS[j] tokens need, times M(F)
    context_j: Float64Array  # per token of context read, times its M(F)
    token_j: Float64Array  # per token computed, times V(F)^2
    attention_j: Float64Array  # per prefill (query, key) pair, times V(F)^2
    core_byte_fraction: Float64Array  # share of weight_j that costs V(F)^2: M(F) = 1 - it (1 - V(F)^2)
    core_context_fraction: Float64Array  # the same of context_j
    knee_fraction: Float64Array  # where the shoulder begins, from busy without work to limit
    shoulder_slope: Float64Array  # watts for each further watt of work beyond the knee
    limit_w: Float64Array  # boards never draw more
    idle_w: Float64Array  # boards, model loaded, nothing running
    asleep_w: Float64Array  # boards, asleep
    host_w: Float64Array  # servers, on, boards apart
    host_w_per_board_w: Float64Array  # servers, for each watt of their boards
    host_asleep_w: Float64Array  # servers, asleep
    voltage_floor_fraction: Float64Array  # clock below which voltage no longer falls
    clock_floor_fraction: Float64Array  # lowest clock that a brain may set

    # request classes
    route_mask: NDArray[np.bool_]  # [K, P] pools that serve the class
    ttft_s: Float64Array  # [K] limit, inf without one
    tpot_s: Float64Array  # [K] limit, inf without one
    deadline_s: Float64Array  # [K] limit, inf without one
    patience_s: Float64Array  # [K]
    deferrable: NDArray[np.bool_]  # [K]
    output_weight: Int64Array  # [K] tokens by which the router weighs an unfinished request
    max_attempts: Int64Array  # [K] attempts of a client in all
    backoff_s: Float64Array  # [K] wait after the first failed attempt
    backoff_factor: Float64Array  # [K] growth of the wait with each further one
    backoff_jitter: Float64Array  # [K] half width of its relative spread
    usd_per_input_token: Float64Array  # [K] list price
    usd_per_output_token: Float64Array  # [K] list price
    cached_input_fraction_of_price: Float64Array  # [K] of a prompt token that the prefix cache held
    late_value_fraction: Float64Array  # [K] of the price that is paid outside the SLO
    session_budget_usd: Float64Array  # [K] after which a session makes no further call, inf without one
    lowest_price_factor: Float64Array  # [K] that a brain may set, over the list price
    highest_price_factor: Float64Array  # [K]
    priced: Int64Array  # [K] index among the classes whose price may be set, -1 for the others

    # clients
    network_s: Float64Array  # [G, S] one way between region and site, the first byte

    # sites and rows
    pue: Float64Array  # [S] highest that an episode can have, without the fixed part
    fixed_w: Float64Array  # [S] highest fixed part of the facility's power
    design_outdoor_c: Float64Array  # [S] outdoor temperature beyond which the room gets warmer
    room: Int64Array  # [S] index among the sites whose room is modelled, -1 without
    room_supply_c: Float64Array  # [S]
    room_k_per_w: Float64Array  # [S] rise for each watt of IT power
    room_response: Float64Array  # [S] share of the way to its target that the air goes in a tick
    room_limit_c: Float64Array  # [S] above which clocks are derated
    room_release_c: Float64Array  # [S] down to which they stay so
    derate_clock_fraction: Float64Array  # [S]
    solar: Int64Array  # [S] index among the sites with solar panels, -1 without
    battery: Int64Array  # [S] index among the sites with a battery, -1 without
    battery_limit_w: Float64Array  # [S] most that it gives or takes, 0 without a battery
    battery_charge_efficiency: Float64Array  # [S]
    battery_discharge_efficiency: Float64Array  # [S]
    battery_capacity_j: Float64Array  # [S]
    battery_lowest_j: Float64Array  # [S] that it is kept above
    battery_highest_j: Float64Array  # [S] that it is kept below
    battery_initial_j: Float64Array  # [S]

    # power nodes, all [S + W]
    meter_window_ticks: Int64Array  # over which the meter averages
    brake_delay_s: Float64Array
    brake_clock_fraction: Float64Array
    recovery_ratio: Float64Array  # seconds of the delay earned back in a second below the cap
    release_fraction: Float64Array  # of the cap
    release_delay_s: Float64Array
    control_lag_ticks: Int64Array  # from a decision of the brake to the clocks
    pickup_ratio: Float64Array  # load over cap at and below which the breaker does not heat
    trip_exponent: Float64Array
    trip_heat_s: Float64Array  # trip time * ((load / pickup)^exponent - 1), the same at every load
    cooling_s: Float64Array  # from the brink of a trip to cold
    restart_s: Float64Array

    view: Layout  # float32 row that the engine writes
    outcome: Layout  # float64 row that the engine writes

    upload_token_s: float = 0.0  # on the client's line, for each token of a prompt

    @classmethod
    def from_scenario(cls, scenario: Scenario) -> FleetArrays:
        """Flatten a validated scenario."""
        sizes = axis_sizes(scenario)
        columns: dict[str, Any] = {
            **_pool_shape(scenario),
            **_kv_moves(scenario),
            **_pool_physics(scenario),
            **_class_arrays(scenario),
            **site_arrays(scenario),
        }
        return cls(
            tick_s=scenario.tick_s,
            horizon_ticks=scenario.horizon_ticks,
            **columns,
            view=Layout(VIEW, sizes),
            outcome=Layout(OUTCOMES, sizes),
            upload_token_s=scenario.upload_token_s,
        )

    @property
    def num_sites(self) -> int:
        """S."""
        return len(self.pue)

    @property
    def num_rows(self) -> int:
        """W."""
        return len(self.meter_window_ticks) - self.num_sites

    @property
    def num_pools(self) -> int:
        """P."""
        return len(self.site)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.patience_s)


def _pool_shape(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    site_id = {name: index for index, name in enumerate(scenario.sites)}
    row_id: dict[tuple[str, str | None], int] = {key: index for index, key in enumerate(scenario.rows)}

    def column(value: Callable[[PoolSpec], int]) -> Int64Array:
        return np.array([value(pool) for pool in scenario.pools.values()], dtype=np.int64)

    return {
        "site": column(lambda pool: site_id[pool.site]),
        "row": column(lambda pool: row_id.get((pool.site, pool.row), -1)),
        "whole_site_row": column(
            lambda pool: row_id.get((pool.site, scenario.sites[pool.site].facility.whole_site_row), -1)
        ),
        "replicas": column(lambda pool: pool.replicas),
        "max_batch": column(lambda pool: pool.max_batch),
        "token_budget": column(lambda pool: pool.token_budget),
        "kv_tokens": column(lambda pool: pool.kv_capacity_tokens),
        "clock_latency_ticks": column(lambda pool: whole_ticks(pool.clock_latency_s, scenario.tick_s)),
        "kv_grows": np.array([pool.kv_grows for pool in scenario.pools.values()]),
        "watermark_tokens": column(lambda pool: pool.watermark_tokens),
        "prefix_block_tokens": column(lambda pool: pool.prefix_block_tokens if pool.prefix_cache else 0),
        "host_cache_tokens": column(lambda pool: pool.host_cache_tokens),
        "host_load_s": np.array([pool.host_load_s for pool in scenario.pools.values()]),
    }


def _kv_moves(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    pools = list(scenario.pools.values())
    names = list(scenario.pools)
    hand_off_to = np.array([-1 if p.hand_off_to is None else names.index(p.hand_off_to) for p in pools], dtype=np.int64)
    kv_tokens = np.array([pool.kv_capacity_tokens for pool in pools], dtype=np.int64)
    decodes = np.where(hand_off_to < 0, np.arange(len(pools)), hand_off_to)
    largest = [at_tokens(np.array(pool.profile.token_s), pool.token_budget) / pool.token_budget for pool in pools]
    return {
        "hand_off_to": hand_off_to,
        "takes_over": np.isin(np.arange(len(pools)), hand_off_to),
        "migrates_prefixes": np.array([pool.migrate_prefixes for pool in pools]),
        "context_limit_tokens": np.minimum(kv_tokens, kv_tokens[decodes]),
        "kv_bytes_per_token": np.array([pool.model_spec.kv_bytes_per_token for pool in pools]),
        "prompt_token_s": np.array(largest, dtype=np.float64),
        "kv_latency_s": scenario.kv_latency_s,
        "kv_token_s": scenario.kv_token_s,
    }


def _pool_physics(scenario: Scenario) -> dict[str, Float64Array]:
    def column(value: Callable[[PoolSpec], float]) -> Float64Array:
        return np.array([value(pool) for pool in scenario.pools.values()], dtype=np.float64)

    def knots(value: Callable[[PoolSpec], tuple[float, ...]]) -> Float64Array:
        return np.array([value(pool) for pool in scenario.pools.values()], dtype=np.float64)

    def board(name: str) -> Float64Array:
        return column(lambda pool: pool.tensor_parallel * getattr(pool.gpu_spec, name))

    def work(name: str) -> Float64Array:
        return column(lambda pool: getattr(work_energy(pool.gpu_spec, pool.model_spec, pool.profile), name))

    power_factor = column(lambda pool: pool.profile.power_factor)

    def facility(name: str) -> Float64Array:
        return column(lambda pool: pool.tensor_parallel * getattr(scenario.sites[pool.site].facility, name))

    return {
        "wake_s": column(lambda pool: pool.model_spec.wake_s),
        "host_s": column(lambda pool: pool.profile.host_s),
        "token_s": knots(lambda pool: pool.profile.token_s),
        "token_memory_share": knots(lambda pool: pool.profile.token_memory_share),
        "decode_s": column(lambda pool: pool.profile.decode_s),
        "context_s": column(lambda pool: pool.profile.context_s),
        "mixed_context_s": column(lambda pool: pool.profile.mixed_context_s),
        "prefill_attention_s": column(lambda pool: pool.profile.prefill_attention_s),
        "prefill_memory_fraction": column(lambda pool: pool.profile.prefill_memory_fraction),
        "static_w": board("static_w"),
        "floor_w": board("floor_w"),
        "work_j": power_factor[:, None]
        * knots(lambda pool: work_energy(pool.gpu_spec, pool.model_spec, pool.profile).work_j),
        **{name: power_factor * work(name) for name in ("context_j", "token_j", "attention_j")},
        "core_byte_fraction": column(lambda pool: pool.gpu_spec.core_byte_fraction),
        "core_context_fraction": column(lambda pool: pool.gpu_spec.core_context_fraction),
        "knee_fraction": column(lambda pool: pool.gpu_spec.knee_fraction),
        "shoulder_slope": column(lambda pool: pool.gpu_spec.shoulder_slope),
        "limit_w": column(lambda pool: pool.tensor_parallel * pool.gpu_spec.limit_fraction * pool.gpu_spec.tdp_w),
        "idle_w": board("idle_w"),
        "asleep_w": board("asleep_w"),
        "host_w": facility("host_w_per_gpu"),
        "host_w_per_board_w": column(lambda pool: scenario.sites[pool.site].facility.host_w_per_board_w),
        "host_asleep_w": facility("host_asleep_w_per_gpu"),
        "voltage_floor_fraction": column(lambda pool: pool.gpu_spec.voltage_floor_fraction),
        "clock_floor_fraction": column(lambda pool: pool.gpu_spec.clock_floor_fraction),
    }


def _class_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    classes = list(scenario.classes.values())

    def limit(name: str) -> Float64Array:
        return np.array([np.inf if getattr(cls, name) is None else getattr(cls, name) for cls in classes])

    return {
        "route_mask": scenario.route_mask,
        "ttft_s": limit("ttft_s"),
        "tpot_s": limit("tpot_s"),
        "deadline_s": limit("deadline_s"),
        "patience_s": limit("patience_s"),
        "deferrable": np.array([cls.deferrable for cls in classes]),
        "output_weight": np.array([cls.expected_output_tokens for cls in classes], dtype=np.int64),
        "max_attempts": np.array([cls.max_attempts for cls in classes], dtype=np.int64),
        "backoff_s": np.array([cls.backoff_s for cls in classes]),
        "backoff_factor": np.array([cls.backoff_factor for cls in classes]),
        "backoff_jitter": np.array([cls.backoff_jitter for cls in classes]),
        **_price_arrays(scenario),
        "network_s": scenario.network_s,
    }


def _price_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    classes = scenario.classes.values()
    return {
        "usd_per_input_token": np.array([cls.usd_per_million_input_tokens for cls in classes]) / TOKENS_PER_MILLION,
        "usd_per_output_token": np.array([cls.usd_per_million_output_tokens for cls in classes]) / TOKENS_PER_MILLION,
        "cached_input_fraction_of_price": np.array([cls.cached_input_fraction_of_price for cls in classes]),
        "late_value_fraction": np.array([cls.late_value_fraction for cls in classes]),
        "session_budget_usd": np.array([cls.session_budget_usd or np.inf for cls in classes]),
        "lowest_price_factor": np.array([cls.token_price_factor.low for cls in classes]),
        "highest_price_factor": np.array([cls.token_price_factor.high for cls in classes]),
        "priced": places(scenario.classes, scenario.priced_classes),
    }
