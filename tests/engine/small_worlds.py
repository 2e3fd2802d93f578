"""Small worlds worked by hand: one or two pools, a plain episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.engine.site_worlds import counts
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.fields import OUTCOMES, VIEW, Layout
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.traces import RequestTable


def one_pool(fixed_s: float = 0.01, token_s: float = 0.001, **changes: object) -> FleetArrays:
    """One site, one pool of one replica, one class without limits; `changes` are scalars or arrays by name.

    Its iteration lasts `fixed_s` plus `token_s` a prefill token (10 and 1 ms) and draws 100 W; idle it draws 40 W; no
    PUE, no servers. Sums on paper are easiest with decoding tokens that cost nothing, so `decode_s` takes back what the
    knots count for them.
    Its breaker carries r times the cap for `trip_heat_s / (r - 1)`.
    """
    values: dict[str, object] = {
        "site": 0,
        "row": -1,
        "whole_site_row": -1,
        "replicas": 1,
        "max_batch": 64,
        "token_budget": 1_000_000,
        "kv_tokens": 10_000_000,
        "clock_latency_ticks": 0,
        "kv_grows": False,
        "watermark_tokens": 0,
        "prefix_block_tokens": 0,
        "host_cache_tokens": 0,
        "host_load_s": 0.0,
        "hand_off_to": -1,
        "takes_over": False,
        "migrates_prefixes": False,
        "context_limit_tokens": changes.get("kv_tokens", 10_000_000),
        "kv_bytes_per_token": 1.0,
        "prompt_token_s": token_s,
        "kv_latency_s": [[0.0]],
        "kv_token_s": [[1e-3]],
        "wake_s": 5.0,
        "host_s": 0.0,
        "token_s": [fixed_s + token_s * np.array(TOKEN_KNOTS)],
        "token_memory_share": np.zeros((1, len(TOKEN_KNOTS))),
        "decode_s": -token_s,
        "context_s": 0.0,
        "mixed_context_s": 0.0,
        "prefill_attention_s": 0.0,
        "prefill_memory_fraction": 0.0,
        "static_w": 100.0,
        "floor_w": 0.0,
        "work_j": np.zeros((1, len(TOKEN_KNOTS))),
        "context_j": 0.0,
        "token_j": 0.0,
        "attention_j": 0.0,
        "core_byte_fraction": 0.0,
        "core_context_fraction": 0.0,
        "knee_fraction": 1.0,
        "shoulder_slope": 1.0,
        "limit_w": 1e9,
        "idle_w": 40.0,
        "asleep_w": 5.0,
        "host_w": 0.0,
        "host_w_per_board_w": 0.0,
        "host_asleep_w": 0.0,
        "voltage_floor_fraction": 0.76,
        "clock_floor_fraction": 0.1,
        "ttft_s": np.inf,
        "tpot_s": np.inf,
        "deadline_s": np.inf,
        "patience_s": np.inf,
        "output_weight": 1,
        "max_attempts": 1,
        "backoff_s": 1.0,
        "backoff_factor": 2.0,
        "backoff_jitter": 0.0,
        "usd_per_input_token": 0.0,
        "usd_per_output_token": 0.0,
        "cached_input_fraction_of_price": 1.0,
        "late_value_fraction": 0.25,
        "session_budget_usd": np.inf,
        "lowest_price_factor": 1.0,
        "highest_price_factor": 1.0,
        "priced": -1,
        "pue": 1.0,
        "fixed_w": 0.0,
        "design_outdoor_c": 35.0,
        "room": -1,
        "room_supply_c": 20.0,
        "room_k_per_w": 0.0,
        "room_response": 1.0,
        "room_limit_c": 30.0,
        "room_release_c": 28.0,
        "derate_clock_fraction": 0.5,
        "solar": -1,
        "battery": -1,
        "battery_limit_w": 0.0,
        "battery_charge_efficiency": 1.0,
        "battery_discharge_efficiency": 1.0,
        "battery_capacity_j": 0.0,
        "battery_lowest_j": 0.0,
        "battery_highest_j": 0.0,
        "battery_initial_j": 0.0,
        "meter_window_ticks": 1,
        "brake_delay_s": 3.0,
        "brake_clock_fraction": 0.25,
        "recovery_ratio": 0.5,
        "release_fraction": 0.9,
        "release_delay_s": 2.0,
        "control_lag_ticks": 0,
        "pickup_ratio": 1.0,
        "trip_exponent": 1.0,
        "trip_heat_s": 1e9,
        "cooling_s": 1e9,
        "restart_s": 4.0,
        **changes,
    }
    integers = {"site", "row", "whole_site_row", "replicas", "max_batch", "token_budget", "kv_tokens", "output_weight"}
    integers |= {"solar", "battery", "room", "meter_window_ticks", "control_lag_ticks", "clock_latency_ticks"}
    integers |= {"max_attempts", "priced", "watermark_tokens", "prefix_block_tokens", "host_cache_tokens"}
    integers |= {"hand_off_to", "context_limit_tokens"}
    flags = dict.fromkeys(("kv_grows", "takes_over", "migrates_prefixes"), np.bool_)
    kinds = {**dict.fromkeys(integers, np.int64), **flags}
    tick_s, horizon_ticks = float(values.pop("tick_s", 1.0)), int(values.pop("horizon_ticks", 20))  # type: ignore[arg-type]
    deferrable = np.array([bool(values.pop("deferrable", False))])
    network_s = np.array([[float(values.pop("network_s", 0.0))]])  # type: ignore[arg-type]
    columns = {name: np.atleast_1d(np.asarray(v, kinds.get(name, np.float64))) for name, v in values.items()}
    some = {axis: columns[name] for axis, name in {"B": "battery", "V": "solar", "R": "room", "T": "priced"}.items()}
    return FleetArrays(
        tick_s=tick_s,
        horizon_ticks=horizon_ticks,
        route_mask=np.ones((1, 1), dtype=bool),
        deferrable=deferrable,
        network_s=network_s,
        **layouts(S=1, P=1, K=1, **counts(some)),
        **columns,  # type: ignore[arg-type]
    )


def two_pools(sites: int = 1, **changes: object) -> FleetArrays:
    """Two pools like that of `one_pool`, at one site or each at its own; `changes` are arrays `[2]` or `[2, 2]`."""
    single = one_pool()
    names = list(FleetArrays.__dataclass_fields__)
    of_pools = names[names.index("site") : names.index("route_mask")]
    of_sites = names[names.index("pue") : names.index("view")]
    doubled = {name: np.repeat(getattr(single, name), 2, axis=0) for name in of_pools}
    doubled |= {name: np.repeat(doubled[name], 2, axis=1) for name in ("kv_latency_s", "kv_token_s")}
    doubled |= {name: np.repeat(getattr(single, name), sites, axis=0) for name in of_sites}
    doubled["network_s"] = np.repeat(single.network_s, sites, axis=1)
    doubled["site"] = np.arange(2) % sites
    doubled["route_mask"] = np.ones((1, 2), dtype=bool)
    doubled |= {name: np.asarray(value, doubled[name].dtype) for name, value in changes.items()}
    return replace(single, **doubled, **layouts(S=sites, P=2, K=1))


def layouts(**sizes: int) -> dict[str, Layout]:
    """View and outcome of a fleet with so many of everything; 0 of what is not said."""
    every = {**dict.fromkeys("SWRBVPKTLF", 0), **sizes}
    return {"view": Layout(VIEW, every), "outcome": Layout(OUTCOMES, every)}


def plain_episode(
    arrays: FleetArrays,
    requests: RequestTable,
    cap_w: float | np.ndarray = 1e12,
    row_cap_w: float | np.ndarray = 1e12,
) -> Episode:
    """An episode of `requests` under constant caps of sites and rows, or ones of `[H]` watts."""
    horizon, sites = arrays.horizon_ticks, arrays.num_sites

    def through_time(limit_w: float | np.ndarray, count: int) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(limit_w, float).reshape(-1, 1), (horizon, count)))

    caps, row_caps = through_time(cap_w, sites), through_time(row_cap_w, arrays.num_rows)
    width = arrays.view.width - arrays.view.offsets["cap_w"]
    return Episode(
        requests=requests,
        cap_w=caps,
        rating_w=caps,
        row_cap_w=row_caps,
        row_rating_w=row_caps,
        price_usd_per_mwh=np.zeros((horizon, sites)),
        carbon_g_per_kwh=np.zeros((horizon, sites)),
        outdoor_c=np.full((horizon, sites), 15.0),
        pue=np.tile(arrays.pue, (horizon, 1)),
        fixed_w=arrays.fixed_w,
        host_power_factor=np.ones(sites),
        solar_w=np.zeros((horizon, sites)),
        exogenous=np.ones((horizon + 1, width), np.float32),
        decode_memory_fraction=np.zeros(arrays.num_pools),
    )
