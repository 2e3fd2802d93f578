"""How large a fleet fits: `python -m benchmarks.large [SCENARIO] [--gpus N] [--hours H] [--rate RPS] [--output FILE]`.

One environment of a scenario, such as `campus` or `grid-scale`. Without one: four sites of 70B and 8B pools, requests
of agents' and chat's lengths around the clock, ticks of ten seconds. Prints the wall time of drawing and of simulating
an episode, and of a step; requests per second, and memory.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.yardstick import hash_rate_mib_per_s, report, resident_mib
from tokenfleet.envs.engine import RequestStatus, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario

TICK_S = 10.0
SITES = ("east", "west", "north", "south")
REPLICAS_PER_POOL = 100
PRICES = {"usd_per_million_input_tokens": 0.4, "usd_per_million_output_tokens": 0.4}
LENGTHS = {
    "chat": {"prompt": {"median_tokens": 1020, "sigma": 0.9}, "output": {"median_tokens": 129, "sigma": 0.9}},
    "agents": {"prompt": {"median_tokens": 6000, "sigma": 0.8}, "output": {"median_tokens": 400, "sigma": 0.8}},
}


def fleet_of(gpus: int, hours: float, rate_rps: float) -> Scenario:
    """Four sites that share `gpus` H100, 96 % of them under 70B replicas of four; 90 % of the requests are agents'."""
    per_site = gpus // len(SITES)
    pools: dict[str, Any] = {}
    for site in SITES:
        large, small = round(0.96 * per_site / 4), round(0.04 * per_site)
        for number, first in enumerate(range(0, large, REPLICAS_PER_POOL)):
            replicas = min(REPLICAS_PER_POOL, large - first)
            pools[f"{site}-70b-{number}"] = _pool(site, "llama-3.1-70b", 4, replicas)
        pools[f"{site}-8b"] = _pool(site, "llama-3.1-8b", 1, small)
    models = {"chat": "llama-3.1-8b", "agents": "llama-3.1-70b"}
    rates = {"chat": 0.1 * rate_rps, "agents": 0.9 * rate_rps}
    return load_scenario(
        {
            "name": "large",
            "tick_s": TICK_S,
            "horizon_ticks": round(hours * 3600 / TICK_S),
            "sites": {site: {"grid": {"cap_fraction": 0.9}} for site in SITES},
            "pools": pools,
            "classes": {
                name: {"model": model, "ttft_s": 2.0, "tpot_s": 0.2, **PRICES} for name, model in models.items()
            },
            "workload": {
                name: {"kind": "poisson", "request_class": name, "rate_rps": rates[name], **LENGTHS[name]}
                for name in LENGTHS
            },
        }
    )


def _pool(site: str, model: str, tensor_parallel: int, replicas: int) -> dict[str, Any]:
    shape = {"tensor_parallel": tensor_parallel, "replicas": replicas}
    return {"site": site, "gpu": "h100-sxm", "model": model, **shape}


def simulate(scenario: Scenario) -> list[dict[str, object]]:
    """One episode under constant controls: rows for the report."""
    hashed = hash_rate_mib_per_s()
    start_s = time.perf_counter()
    arrays = FleetArrays.from_scenario(scenario)
    fleet = make_engine("native", arrays, 1)
    episode = sample_episode(scenario, 0)
    count = len(episode.requests)
    fleet.reset(0, episode)
    drawn_s = time.perf_counter()
    controls = Controls.neutral(1, arrays.route_mask.astype(float))
    energy_j = 0.0
    for _ in range(scenario.horizon_ticks):
        fleet.step(controls)
        energy_j += float(fleet.outcome["energy_j"].sum())
    end_s = time.perf_counter()
    memory_mib = resident_mib()
    completed = float(np.mean(fleet.request_log(0).status == RequestStatus.COMPLETED))
    gpus = sum(pool.gpus for pool in scenario.pools.values())
    rate = count / (end_s - drawn_s)
    return [
        {"measure": "GPUs", "value": float(gpus)},
        {"measure": "simulated hours", "value": scenario.horizon_s / 3600},
        {"measure": "requests", "value": float(count)},
        {"measure": "completed by the end", "value": completed},
        {"measure": "energy, MWh", "value": energy_j / 3.6e9},
        {"measure": "drawing the episode, s", "value": drawn_s - start_s},
        {"measure": "simulating it, s", "value": end_s - drawn_s},
        {"measure": "a step, ms", "value": 1e3 * (end_s - drawn_s) / scenario.horizon_ticks},
        {"measure": "requests per second", "value": rate},
        {"measure": "requests per hashed MiB", "value": rate / hashed},
        {"measure": "memory, MiB", "value": memory_mib},
    ]


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", help="a shipped one, instead of the fleet that the options describe")
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=600.0, help="requests per second, all classes together")
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    arguments = parser.parse_args()
    described = (arguments.gpus, arguments.hours, arguments.rate)
    rows = simulate(load_scenario(arguments.scenario) if arguments.scenario else fleet_of(*described))
    report("A large fleet, native engine, one core", rows, arguments.output)


if __name__ == "__main__":
    main()
