"""What a fork costs: `python -m benchmarks.forks [--output FILE.json] [SCENARIO ...]`.

Forks a fleet in the middle of an episode of each scenario into 32 others, again and again, so that both have in common
whatever has ended. Then forks fleets of two episodes in turn, which have nothing in common, and copies the bytes of
their state between as many buffers. Then asks `simulate` for 8 candidates over 60 ticks. One core.
"""

from __future__ import annotations

import argparse
import ctypes
from pathlib import Path

import numpy as np

from benchmarks.yardstick import best_rate, report
from tokenfleet.envs.engine.native import NativeEngine
from tokenfleet.envs.vector import FleetVectorEnv

TARGETS = 32
CANDIDATES, HORIZON = 8, 60


def half_way(scenario: str, num_envs: int) -> FleetVectorEnv:
    """Fleets in the middle of an episode, the last of them of another one, all actions 0."""
    envs = FleetVectorEnv(scenario, num_envs)
    envs.reset(seed=[0] * (num_envs - 1) + [1])
    action = np.zeros(envs.action_space.shape or (), np.float32)
    for _ in range(envs.scenario.horizon_ticks // 2):
        envs.step(action)
    return envs


def forks(envs: FleetVectorEnv, source: int, before: int) -> tuple[float, float]:
    """Forks of fleet `source` a second, into fleets that have just been forked off fleet `before`."""
    targets = list(range(1, TARGETS + 1))

    def work() -> float:
        envs.engine.fork([source] * TARGETS, targets)
        return float(TARGETS)

    return best_rate(work, repeats=20, before=lambda: envs.engine.fork([before] * TARGETS, targets))


def copies(count: int) -> tuple[float, float]:
    """Copies a second of `count` bytes, from one buffer to many in turn."""
    source = np.ones(count, np.uint8)
    targets = [np.ones(count, np.uint8) for _ in range(TARGETS)]

    def work() -> float:
        for target in targets:
            ctypes.memmove(target.ctypes.data, source.ctypes.data, count)
        return float(TARGETS)

    return best_rate(work, repeats=20)


def steps(envs: FleetVectorEnv) -> tuple[float, float]:
    """Ticks of a fleet a second, engine alone."""
    controls = envs.action_model.decode(np.zeros(envs.action_space.shape or (), np.float32))
    held = envs.snapshot()

    def work() -> float:
        for _ in range(10):
            envs.engine.step(controls)
        return 10.0 * envs.num_envs

    rate = best_rate(work, repeats=5, before=lambda: envs.restore(held))
    envs.restore(held)
    return rate


def answers(envs: FleetVectorEnv, futures: object) -> tuple[float, float]:
    """What-if questions a second for one fleet: 8 candidates, 60 ticks."""
    rng = np.random.default_rng(0)
    plan = rng.uniform(-1, 1, (CANDIDATES, *(envs.single_action_space.shape or ()))).astype(np.float32)

    def work() -> float:
        envs.simulate(plan, HORIZON, fleets=[0], futures=futures)  # type: ignore[arg-type]
        return 1.0

    return best_rate(work, repeats=5)


def measured(scenario: str) -> dict[str, object]:
    """One row of the table."""
    envs = half_way(scenario, TARGETS + 2)
    engine = envs.engine
    assert isinstance(engine, NativeEngine)
    state_bytes = engine.snapshot(0).state_bytes
    forked, _ = forks(envs, 0, 0)
    anew, _ = forks(envs, 0, TARGETS + 1)
    copied, _ = copies(state_bytes)
    stepped, _ = steps(envs)
    same, _ = answers(envs, "same")
    drawn, _ = answers(envs, [1, 2, 3, 4])
    envs.close()
    return {
        "measure": scenario,
        "state [KiB]": state_bytes / 1024.0,
        "forks/s": forked,
        "fork over memcpy": copied / forked,
        "nothing in common": copied / anew,
        "fork over tick": stepped / forked,
        "answers/s, same future": same,
        "answers/s, 4 drawn futures": drawn,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=["tiny", "default", "agent-swarm"])
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    arguments = parser.parse_args()
    rows = [measured(scenario) for scenario in arguments.scenarios]
    report("Forks in the middle of an episode; an answer is 8 candidates over 60 ticks", rows, arguments.output)


if __name__ == "__main__":
    main()
