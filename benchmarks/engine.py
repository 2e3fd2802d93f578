"""How fast the simulator is: `python -m benchmarks.engine [--output FILE.json] [--quick] [--each-layer]`.

Measures, on one core:
- trace mode: requests per second through 16 replicas in ticks of ten minutes, both engines;
- environment steps: 64 environments of 16 replicas at 20 requests per step; engine alone; with observation, reward and
  infos; and with the drawing of new episodes of 600 steps as well;
- trace mode, and steps of the engine alone and with observation, reward and infos, again with every layer of
  `benchmarks.scenarios.LAYERS` switched on, and the requests of trace mode as calls of sessions;
- episodes drawn per second, and resets of a fleet to one that has been drawn;
- memory per environment;
- with `--each-layer`, steps with observation, reward and infos under each layer alone too.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from gymnasium.vector import AutoresetMode

from benchmarks.scenarios import LAYERS, as_sessions, sixteen_replicas
from benchmarks.yardstick import best_rate, report, resident_mib
from tokenfleet.envs.engine import RequestStatus, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.vector import FleetVectorEnv

NUM_ENVS = 64
RATE_RPS = 20.0


def trace_mode(engine: str, minutes: int, layers: Sequence[str] = ()) -> tuple[float, float]:
    """Requests served per second in an episode of long ticks, controls constant; with any layer on, as sessions."""
    horizon_ticks = minutes // 10
    scenario = sixteen_replicas(RATE_RPS, tick_s=600.0, horizon_ticks=horizon_ticks, stream="poisson", layers=layers)
    arrays = FleetArrays.from_scenario(scenario)
    fleet = make_engine(engine, arrays, 1)
    episode = sample_episode(scenario, 0)
    if layers:
        episode = replace(episode, requests=as_sessions(episode.requests, RATE_RPS))
    controls = Controls.neutral(1, arrays.route_mask.astype(float))

    def work() -> float:
        fleet.reset(0, episode)
        for _ in range(scenario.horizon_ticks):
            fleet.step(controls)
        return float((fleet.request_log(0).status == RequestStatus.COMPLETED).sum())

    return best_rate(work, repeats=5 if engine == "native" else 1)


def engine_steps(ticks: int, layers: Sequence[str] = ()) -> tuple[float, float]:
    """Environment steps per second of the engine alone."""
    scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=ticks, layers=layers)
    arrays = FleetArrays.from_scenario(scenario)
    fleets = make_engine("native", arrays, NUM_ENVS)
    episodes = [sample_episode(scenario, seed) for seed in range(NUM_ENVS)]
    controls = Controls.neutral(NUM_ENVS, arrays.route_mask.astype(float))

    def work() -> float:
        for index, episode in enumerate(episodes):
            fleets.reset(index, episode)
        for _ in range(ticks):
            fleets.step(controls)
        return float(ticks * NUM_ENVS)

    return best_rate(work)


def environment_steps(ticks: int, layers: Sequence[str] = ()) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Environment steps per second within episodes, and with the drawing of new ones; and MiB per environment."""
    gc.collect()
    before_mib = resident_mib()
    scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=ticks, layers=layers)
    env = FleetVectorEnv(scenario, NUM_ENVS, autoreset_mode=AutoresetMode.SAME_STEP)
    action = np.zeros((NUM_ENVS, *env.action_model.space.shape), np.float32)

    def steps(count: int) -> float:
        for _ in range(count):
            env.step(action)
        return float(count * NUM_ENVS)

    def within() -> float:
        return steps(ticks - 1)

    env.reset(seed=0)
    inside = best_rate(within, repeats=3, before=lambda: env.reset())
    env.reset(seed=0)
    whole = best_rate(lambda: steps(2 * ticks), repeats=3)
    memory_mib = (resident_mib() - before_mib) / NUM_ENVS
    env.close()
    return inside, whole, memory_mib


def episode_rates(ticks: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Episodes drawn per second, and resets of a fleet to a drawn one."""
    scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=ticks)
    fleet, episode = make_engine("native", FleetArrays.from_scenario(scenario), 1), sample_episode(scenario, 0)

    def draws() -> float:
        for seed in range(NUM_ENVS):
            sample_episode(scenario, seed)
        return float(NUM_ENVS)

    def resets() -> float:
        for _ in range(NUM_ENVS):
            fleet.reset(0, episode)
        return float(NUM_ENVS)

    return best_rate(draws, repeats=20), best_rate(resets, repeats=20)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    parser.add_argument("--quick", action="store_true", help="a few seconds, rough figures")
    parser.add_argument("--each-layer", action="store_true", help="also time steps under each layer alone")
    arguments = parser.parse_args()
    minutes, ticks = (100, 60) if arguments.quick else (1000, 600)
    native, reference = trace_mode("native", minutes), trace_mode("reference", 10)
    steps = engine_steps(ticks)
    draws, resets = episode_rates(ticks)
    inside, whole, memory_mib = environment_steps(ticks)
    everything = trace_mode("native", minutes, tuple(LAYERS))
    all_steps = engine_steps(ticks, tuple(LAYERS))
    all_inside, _, _ = environment_steps(ticks, tuple(LAYERS))
    rows = [
        _row("trace mode, native", "requests/s", *native),
        _row("trace mode, reference", "requests/s", *reference),
        _row("trace mode, native over reference", "times", native[0] / reference[0], native[1] / reference[1]),
        _row("engine alone, 64 environments", "env-steps/s", *steps),
        _row("observation, reward and infos included", "env-steps/s", *inside),
        _row("drawing of new episodes included too", "env-steps/s", *whole),
        _row("drawing of an episode", "episodes/s", *draws),
        _row("reset to a drawn episode", "resets/s", *resets),
        _row("trace mode, native, every layer and sessions", "requests/s", *everything),
        _row("engine alone, every layer", "env-steps/s", *all_steps),
        _row("observation, reward and infos, every layer", "env-steps/s", *all_inside),
        _row("memory per environment", "MiB", memory_mib, float("nan")),
    ]
    if arguments.each_layer:
        rows += [_row(f"steps, {layer}", "env-steps/s", *environment_steps(ticks, (layer,))[0]) for layer in LAYERS]
    report("Engine throughput on one core, 16 replicas, 20 requests/s", rows, arguments.output)


def _row(measure: str, unit: str, value: float, per_yardstick: float) -> dict[str, object]:
    return {"measure": measure, "value": value, "unit": unit, "per hashed MiB": per_yardstick}


if __name__ == "__main__":
    main()
