"""The scenarios that the benchmarks run: 16 replicas of an 8B model on H100, at 20 requests per second."""

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


POOLS = ("east-0", "east-1", "west-0", "west-1")
# Layer -> keys laid over the scenario of `sixteen_replicas`; each switches one thing on.
LAYERS: dict[str, dict[str, Any]] = {
    "rows, emergencies, clock latency": {
        "sites.east.facility.rows": {"row": {"cap_fraction": 0.8}},
        "pools.east-0.row": "row",
        "sites.west.grid.emergencies": [{"earliest_start_s": 60.0, "latest_start_s": 300.0, "hold_s": 60.0}],
        **{f"pools.{pool}.clock_latency_s": 2.0 for pool in POOLS},
    },
    "battery, solar, series": {
        "sites.east.battery": {"power_w": 3000.0, "energy_j": 2e6},
        "sites.east.solar": {"peak_w": 4000.0, "irradiance_w_per_m2": {"series": "san-jose-weather"}},
        "sites.east.grid.price_usd_per_mwh": {"series": "caiso-2023-price"},
    },
    "failures": {"failures": {"rate_factor": 2000.0, "repair_median_s": 60.0}},
    "KV growth": {f"pools.{pool}.kv_policy": "grow" for pool in POOLS},
    "prefix cache": {f"pools.{pool}.prefix_cache": True for pool in POOLS},
    "distance": {
        "regions": {"virginia": {"location": "aws:us-east-1"}, "oregon": {"location": "aws:us-west-2"}},
        "sites.east.location": "aws:us-east-1",
        "sites.west.location": "aws:us-west-2",
    },
    "retries": {"classes.chat.max_attempts": 3, "classes.chat.patience_s": 5.0},
}
CONVERSATIONS = 256
REUSED_SHARE = 0.6


def as_sessions(requests: RequestTable, rate_rps: float) -> RequestTable:
    """The same requests as calls of `CONVERSATIONS` closed loops: each comes a wait after its loop's call before it.

    The waits are what keeps the rate when an answer takes two seconds; 60 % of a prompt was in the call before.
    """
    count, rng = len(requests), np.random.default_rng(0)
    rows = np.arange(count)
    waits = rows >= CONVERSATIONS
    mean_wait_s = max(CONVERSATIONS / rate_rps - 2.0, 0.1)
    return RequestTable.of(
        np.where(waits, np.inf, requests.arrival_s[np.minimum(rows, CONVERSATIONS - 1)]),
        requests.prompt_tokens,
        requests.output_tokens,
        requests.class_id,
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
    lengths = {
        "prompt": {"median_tokens": 1020, "sigma": 0.9, "max_tokens": 8000},
        "output": {"median_tokens": 129, "sigma": 0.9, "max_tokens": 1000},
    }
    source = {"trace": "azure-chat-2023"} if stream == "trace" else lengths
    pool = {"gpu": "h100-sxm", "model": "llama-3.1-8b", "replicas": 4}
    overrides = {key: value for layer in layers for key, value in LAYERS[layer].items()}
    described = {
        "name": "benchmark",
        "tick_s": tick_s,
        "horizon_ticks": horizon_ticks,
        "sites": {site: {"grid": {"cap_fraction": 0.9}} for site in ("east", "west")},
        "pools": {f"{site}-{i}": {"site": site, **pool} for site in ("east", "west") for i in range(2)},
        "classes": {"chat": CLASS},
        "workload": {"chat": {"kind": stream, "request_class": "chat", "rate_rps": rate_rps, **source}},
    }
    return load_scenario(described, overrides)
