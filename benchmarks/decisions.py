"""How long a decision takes: `python -m benchmarks.decisions [--output FILE.json]`.

For 64 fleets of each benchmark scenario side by side, on one core: the learned policy, the generalist, the rule
`operator`, and a tick of the environment itself. A fleet decides once a tick, and a tick stands for a second or more.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.yardstick import report
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.contenders.cells import TIMED_ROWS, measure_decision_ms
from tokenfleet.evaluation.protocol import load_protocol

TICKS = 100


def tick_ms(scenario: Scenario) -> float:
    """Median time of a tick of as many fleets, all actions 0 [ms]."""
    env = FleetVectorEnv(scenario, TIMED_ROWS, split="validation")
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape or (), np.float32)
    taken_s = []
    for _ in range(TICKS):
        began_s = time.perf_counter()
        env.step(action)
        taken_s.append(time.perf_counter() - began_s)
    env.close()
    return 1e3 * float(np.median(taken_s))


def measured(name: str) -> dict[str, object]:
    """One row of the table."""
    scenario = load_scenario(name)
    policies = {"learned": f"pretrained/{name}", "generalist": "pretrained/generalist", "operator": "operator"}
    times_ms = {f"{who}, ms": measure_decision_ms(scenario, policy) for who, policy in policies.items()}
    return {"measure": name, **times_ms, "tick, ms": tick_ms(scenario)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(name) for name in load_protocol().benchmarks]
    report(f"A decision for {TIMED_ROWS} fleets side by side", rows, arguments.output)


if __name__ == "__main__":
    main()
