"""The worlds that the benchmarks run: 16 replicas of an 8B model on H100, at 20 requests per second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenfleet.envs.scenario import Scenario, load_scenario

CLASS = {
    "model": "llama-3.1-8b",
    "ttft_s": 0.5,
    "tpot_s": 0.03,
    "usd_per_million_input_tokens": 0.03,
    "usd_per_million_output_tokens": 0.05,
}


# Layer -> keys laid over the scenario of `sixteen_replicas`; each switches one thing on.
LAYERS: dict[str, dict[str, Any]] = {
    "retries": {"classes.chat.max_attempts": 3, "classes.chat.patience_s": 2.0},
    "failures": {"failures": {"rate_factor": 2000.0, "repair_median_s": 60.0}},
}


def sixteen_replicas(
    rate_rps: float, tick_s: float, horizon_ticks: int, stream: str = "trace", layers: Sequence[str] = ()
) -> Scenario:
    """Four pools of four replicas at two sites, under caps of 70 %, with the lengths of real chat.

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
    world = {
        "name": "benchmark",
        "tick_s": tick_s,
        "horizon_ticks": horizon_ticks,
        "sites": {site: {"grid": {"cap_fraction": 0.7}} for site in ("east", "west")},
        "pools": {f"{site}-{i}": {"site": site, **pool} for site in ("east", "west") for i in range(2)},
        "classes": {"chat": CLASS},
        "workload": {"chat": {"kind": stream, "request_class": "chat", "rate_rps": rate_rps, **source}},
    }
    return load_scenario(world, overrides)
