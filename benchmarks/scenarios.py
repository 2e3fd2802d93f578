"""The scenarios that the benchmarks run: 16 replicas of an 8B model on H100, at 20 requests per second.

All of `LAYERS` together switch on whatever a scenario can; `tests/scenario/test_everything.py` says what not, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.traces import RequestTable

CLASS = {
    "model": "llama-3.1-8b",
    "ttft_s": 0.5,
    "tpot_s": 0.03,
    "usd_per_million_input_tokens": 0.03,
    "usd_per_million_output_tokens": 0.05,
}
LENGTHS = {
    "prompt": {"median_tokens": 1020, "sigma": 0.9, "max_tokens": 8000},
    "output": {"median_tokens": 129, "sigma": 0.9, "max_tokens": 1000},
}
HELD = {key: value for key, value in CLASS.items() if key not in ("ttft_s", "tpot_s")}  # who may wait is not late
PERSISTENT = {"max_attempts": 12}  # a client that gives up ends its session, and the benchmark would run dry


def _under(place: str, keys: dict[str, Any]) -> dict[str, Any]:
    """The keys with a dotted place in front."""
    return {f"{place}.{key}": value for key, value in keys.items()}


def _of_pools(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys for every pool."""
    return {place: value for pool in POOLS for place, value in _under(f"pools.{pool}", keys).items()}


POOLS = ("east-0", "east-1", "west-0", "west-1")
# Layer -> keys laid over the scenario of `sixteen_replicas`; each switches one thing on. All streams of the workload
# share the rate.
LAYERS: dict[str, dict[str, Any]] = {
    "rows, emergencies, clock latency": {
        "sites.east.facility.rows": {"row": {"cap_fraction": 0.8}, "hall": {"cap_fraction": 0.9, "whole_site": True}},
        "pools.east-0.row": "row",
        "sites.west.grid.emergencies": [{"earliest_start_s": 60.0, "latest_start_s": 300.0, "hold_s": 60.0}],
        **_under("sites.east.grid", {"meter_window_s": 5.0, "brake": {"control_lag_s": 2.0}}),
        **_of_pools({"clock_latency_s": 2.0}),
    },
    "battery, solar, series": {
        "sites.east.battery": {"power_w": 3000.0, "energy_j": 2e6},
        "sites.east.solar": {"peak_w": 4000.0, "irradiance_w_per_m2": {"series": "san-jose-weather"}},
        "sites.east.grid.price_usd_per_mwh": {"series": "caiso-2023-price"},
    },
    "cooling plant, room": _under(
        "sites.east.facility", {"cooling": {"free_below_c": 8.0}, "room": {"supply_c": 24.0}, "host_w_per_board_w": 0.1}
    ),
    "training jobs": {"sites.east.training": {"gpu": "a100-sxm-80gb", "jobs": 4}},
    "money for power": _under(
        "sites.east.grid",
        {
            "real_time_price": {"shared_fraction": 0.5, "heat": {"from_c": 30.0}, "call_spike_usd_per_mwh": 100.0},
            "tariff": {
                "carbon_usd_per_t": 70.0,
                "time_of_use": [{"usd_per_mwh": 40.0, "from_hour": 16, "to_hour": 21, "utc_offset_h": -8}],
                "demand_charge": {"usd_per_kw": 0.015, "window_s": 15.0, "ratchet_fraction": 0.8},
                "ramp_charge": {"limit_fraction_per_s": 0.15, "usd_per_mw": 0.2},
            },
            "demand_response": [{"earliest_start_s": 60.0, "latest_start_s": 300.0, "hold_s": 60.0, "enforced": False}],
            "programme": {
                "offered_fraction": 0.3,
                "availability_usd_per_mw_h": 30.0,
                "activation_usd_per_mwh": 1000.0,
                "damages_usd_per_mwh": 2300.0,
                "rebound_s": 20.0,
                "rebound_usd_per_mwh": 500.0,
            },
            "regulation": {"capacity_fraction": 0.05},
        },
    ),
    "regimes, forecasts, uncertainty": {
        "regimes": {
            "term": {
                "states": {
                    "ordinary": {"mean_stay_s": 200.0},
                    "hand-in": {
                        "mean_stay_s": 80.0,
                        "streams": {"chat": {"output_factor": 1.3}},
                        "price_tolerance_factor": {"chat": 1.6},
                        "clock_sensitivity_factor": {"east-0": 2.0},
                    },
                },
                "indicator": {"lead_s": 40.0, "noise": 0.5, "noise_memory_s": 20.0},
            },
            "chiller": {
                "drift_memory_s": 900.0,
                "states": {"clean": {}, "fouled": {"cooling_factor": {"east": 1.4}}},
            },
        },
        "classes.chat.price_tolerance": {"median": 3.0},
        "forecast_lead_s": [0.0, 60.0],
        "forecast": {"price_spread": True, "demand": {"window_s": 30.0}, "events": {"noise": 0.5}},
        "sites.west.grid.demand_response": [
            {"depth_fraction": 0.02, "earliest_start_s": 60.0, "latest_start_s": 300.0, "hold_s": 60.0}
        ],
        "uncertainty": {
            "decode_memory_fraction": [0.7, 0.9],
            "pue_factor": [0.9, 1.1],
            "host_power_factor": [0.9, 1.1],
        },
    },
    "failures": {"failures": {"rate_factor": 2000.0, "repair_median_s": 60.0}},
    "standby, cold sleep": {
        **_under("pools.west-0", {"standby": {"wake_s": 1.0}}),
        **_under("pools.west-1", {"standby": {"wake_s": 1.0}, "cold": {"boot_s": 40.0}}),
    },
    "variant": {"pools.west-1.variant": {"model": "gpt-oss-20b", "quality": 0.9}},
    "KV growth": _of_pools({"kv_policy": "grow"}),
    "prefix cache": _of_pools({"prefix_cache": True}),
    "hand-off, migration, host memory": {
        **_under("pools.east-0", {"model": "gpt-oss-20b", "hand_off_to": "east-1", "kv_policy": "grow"}),
        **_under("pools.east-0", {"prefix_cache": True, "migrate_prefixes": True, "host_cache_bytes": 1e11}),
        **_under("pools.east-1", {"model": "gpt-oss-20b", "decode_only": True}),
        "classes.assistant": {**CLASS, "model": "gpt-oss-20b", **PERSISTENT},
        "workload.assistant": {"kind": "poisson", "request_class": "assistant", **LENGTHS},
    },
    "distance": {
        "regions": {"virginia": {"location": "aws:us-east-1"}, "oregon": {"location": "aws:us-west-2"}},
        "sites.east.location": "aws:us-east-1",
        "sites.west.location": "aws:us-west-2",
    },
    "deferral, priority, seats": {
        "classes.batch": {**HELD, "deferrable": True, "deadline_s": 3600.0, **PERSISTENT},
        "classes.chat.priority": 1,
        "pools.west-0.reserved_seats": {"chat": 4},
        "workload.batch": {"kind": "poisson", "request_class": "batch", **LENGTHS},
    },
    "agreement, token price": _under(
        "classes.chat",
        {
            "agreement": {"tiers": [{"below_share": 0.9, "credit_fraction": 0.1}]},
            "price_tolerance": {"median": 3.0},
            "token_price_factor": {"low": 0.5, "high": 2.0},
        },
    ),
    "retries": _under("classes.chat", {**PERSISTENT, "patience_s": 5.0, "session_budget_usd": 1.0}),
}
CONVERSATIONS = 256
REUSED_SHARE = 0.6


def as_sessions(requests: RequestTable, rate_rps: float) -> RequestTable:
    """The same requests as calls of `CONVERSATIONS` closed loops; each call follows an answer after a wait.

    The waits keep the rate if an answer takes two seconds. 60 % of a prompt stood in the prompt before it in the
    loop, and all calls of a loop are of one class.
    """
    count, rng = len(requests), np.random.default_rng(0)
    rows = np.arange(count)
    waits = rows >= CONVERSATIONS
    mean_wait_s = max(CONVERSATIONS / rate_rps - 2.0, 0.1)
    return RequestTable.of(
        np.where(waits, np.inf, requests.arrival_s[np.minimum(rows, CONVERSATIONS - 1)]),
        requests.prompt_tokens,
        requests.output_tokens,
        requests.class_id[rows % CONVERSATIONS],
        edges=np.stack([rows[waits] - CONVERSATIONS, rows[waits]], axis=1),
        predecessors=waits,
        wait_s=rng.exponential(mean_wait_s, count),
        conversation_id=rows % CONVERSATIONS,
        session_id=rows % CONVERSATIONS,
        reusable_tokens=np.where(waits, REUSED_SHARE * requests.prompt_tokens, 0),
        region_id=requests.region_id,
        retry_uniform=requests.retry_uniform,
    )


def sixteen_replicas(
    rate_rps: float, tick_s: float, horizon_ticks: int, stream: str = "trace", layers: Sequence[str] = ()
) -> Scenario:
    """Four pools of four replicas at two sites, under caps of 90 %, with the lengths of real chat.

    The caps are watched and do not bind: a fleet that brakes or goes dark serves less, and so would look faster.

    Args:
        rate_rps: arrivals per second.
        tick_s: one second for environment steps, minutes for trace mode.
        horizon_ticks: length of an episode.
        stream: `trace` replays Azure chat; `poisson` draws lognormal lengths of the same medians, for horizons that the
            trace's splits are too short for.
        layers: names of `LAYERS` to switch on.
    """
    source = {"trace": "azure-chat-2023"} if stream == "trace" else LENGTHS
    pool = {"gpu": "h100-sxm", "model": "llama-3.1-8b", "replicas": 4}
    overrides = {key: value for layer in layers for key, value in LAYERS[layer].items()}
    streams = ["workload.chat", *(key for key in overrides if key.startswith("workload."))]
    overrides |= {f"{name}.rate_rps": rate_rps / len(streams) for name in streams}
    described = {
        "name": "benchmark",
        "tick_s": tick_s,
        "horizon_ticks": horizon_ticks,
        "sites": {site: {"grid": {"cap_fraction": 0.9}} for site in ("east", "west")},
        "pools": {f"{site}-{i}": {"site": site, **pool} for site in ("east", "west") for i in range(2)},
        "classes": {"chat": CLASS},
        "workload": {"chat": {"kind": stream, "request_class": "chat", **source}},
    }
    return load_scenario(described, overrides)
