"""Small scenarios for environment tests, as catalogue names with overrides."""

from __future__ import annotations

from typing import Any

from tokenfleet.envs.scenario import Scenario, load_scenario

SECOND_8B_POOL = {"site": "lab", "gpu": "h100-sxm", "model": "llama-3.1-8b", "replicas": 1}

TWO_ROUTES: dict[str, Any] = {"pools.lab-8b-too": SECOND_8B_POOL}
"""Both 8B classes may go to either of two pools; the 70B class has no choice."""

FRAGILE: dict[str, Any] = {
    "horizon_ticks": 12,
    "sites.lab.grid.demand_response": [],
    "sites.lab.grid.cap_fraction": 0.32,
    "sites.lab.grid.brake": {"delay_s": 100.0},
    "sites.lab.grid.breaker": {"delay_s": 4.0, "overload_ratio": 1.5, "restart_s": 20.0},
}
"""Busy fleets trip their only breaker, each in its own time, so that episodes end apart."""


def two_routes() -> Scenario:
    return load_scenario("tiny", TWO_ROUTES)
