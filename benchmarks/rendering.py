"""How long a frame takes: `python -m benchmarks.rendering [--scenario NAME] [--frames N]`.

Prints milliseconds of processor time a frame over an episode of random play, without the steps: the first frame, which
sets up the figure, and the mean and the slowest of all others.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tokenfleet.envs.fleet import FleetEnv


def frame_times_ms(scenario: str, frames: int) -> np.ndarray:
    """Time of each of so many frames, spread over an episode [ms]."""
    env = FleetEnv(scenario, render_mode="rgb_array")
    env.reset(seed=0)
    env.action_space.seed(0)
    drawn_at = set(np.linspace(0, env.scenario.horizon_ticks - 1, frames).astype(int).tolist())
    times_ms = []
    for tick in range(env.scenario.horizon_ticks):
        env.step(env.action_space.sample())
        if tick in drawn_at:
            began_s = time.process_time()
            env.render()
            times_ms.append(1e3 * (time.process_time() - began_s))
    return np.array(times_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="default")
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    first, *others = frame_times_ms(arguments.scenario, arguments.frames).tolist()
    mean_ms, slowest_ms = np.mean(others), np.max(others)
    print(f"{arguments.scenario}: {mean_ms:.1f} ms a frame, the slowest {slowest_ms:.0f} ms, the first {first:.0f} ms")


if __name__ == "__main__":
    main()
