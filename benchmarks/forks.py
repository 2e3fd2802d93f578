"""What a fork costs: `python -m benchmarks.forks [--output FILE.json] [SCENARIO ...]`.

Forks a fleet in the middle of an episode of each scenario into 32 others, again and again, so that all have in common
whatever is not under way. Then forks fleets of two episodes in turn, which have nothing in common. The bytes of the
live state, and those of all the state, are copied between as many buffers. Then asks `simulate` for 8 candidates over
60 ticks. One core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.yardstick import best_rate, report
from tokenfleet.envs.engine.native import NativeEngine
from tokenfleet.envs.vector import FleetVectorEnv

TARGETS = 32
SHORT, LONG = 1, 20
"""Rounds through all targets, so that a measure takes milliseconds: a busy machine interrupts what takes longer."""
CANDIDATES, HORIZON = 8, 60


def half_way(scenario: str, num_envs: int) -> FleetVectorEnv:
    """Fleets in the middle of an episode, the last of them of another one, all actions 0."""
    envs = FleetVectorEnv(scenario, num_envs)
    envs.reset(seed=[0] * (num_envs - 1) + [1])
    action = np.zeros(envs.action_space.shape or (), np.float32)
    for _ in range(envs.scenario.horizon_ticks // 2):
        envs.step(action)
    return envs


def forks(envs: FleetVectorEnv, sources: Sequence[int], rounds: int) -> float:
    """Forks a second into many fleets, of each source in turn."""
    targets = list(range(1, TARGETS + 1))

    def round_of_all() -> None:
        for source in sources:
            envs.engine.fork([source] * TARGETS, targets)

    return _best_of_rounds(round_of_all, rounds, len(sources))


def copies(count: int, rounds: int) -> float:
    """Copies a second of `count` bytes, from one buffer into many."""
    source, targets = np.ones(count, np.uint8), np.ones((TARGETS, count), np.uint8)

    def round_of_all() -> None:
        targets[...] = source

    return _best_of_rounds(round_of_all, rounds, 1)


def _best_of_rounds(round_of_all: Callable[[], None], rounds: int, times: int) -> float:
    """Targets filled a second, where each round fills all of them so many times; once before to fill the caches."""

    def work() -> float:
        for _ in range(rounds):
            round_of_all()
        return float(rounds * times * TARGETS)

    return best_rate(work, repeats=20, before=work)[0]


def steps(envs: FleetVectorEnv) -> float:
    """Ticks of a fleet a second, engine alone."""
    controls = envs.action_model.decode(np.zeros(envs.action_space.shape or (), np.float32))
    held = envs.snapshot()

    def work() -> float:
        for _ in range(10):
            envs.engine.step(controls)
        return 10.0 * envs.num_envs

    rate, _ = best_rate(work, repeats=5, before=lambda: envs.restore(held))
    envs.restore(held)
    return rate


def answers(envs: FleetVectorEnv, futures: object) -> float:
    """What-if questions a second for one fleet: 8 candidates, 60 ticks."""
    rng = np.random.default_rng(0)
    plan = rng.uniform(-1, 1, (CANDIDATES, *(envs.single_action_space.shape or ()))).astype(np.float32)

    def work() -> float:
        envs.simulate(plan, HORIZON, fleets=[0], futures=futures)  # type: ignore[arg-type]
        return 1.0

    return best_rate(work, repeats=5)[0]


def measured(scenario: str) -> dict[str, object]:
    """One row of the table."""
    envs = half_way(scenario, TARGETS + 2)
    engine = envs.engine
    assert isinstance(engine, NativeEngine)
    held = engine.snapshot(0)
    forked, anew = forks(envs, [0], LONG), forks(envs, [0, TARGETS + 1], SHORT)
    stepped = steps(envs)
    same, drawn = answers(envs, "same"), answers(envs, [1, 2, 3, 4])
    envs.close()
    return {
        "measure": scenario,
        "live state [KiB]": held.live_bytes / 1024.0,
        "all state [KiB]": held.state_bytes / 1024.0,
        "forks/s": forked,
        "fork over memcpy of live state": copies(held.live_bytes, LONG) / forked,
        "nothing in common, over memcpy of all": copies(held.state_bytes, SHORT) / anew,
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
