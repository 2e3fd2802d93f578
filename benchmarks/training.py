"""How much of PPO's time the environment takes: `python -m benchmarks.training [--output FILE.json] [--quick]`.

The same PPO (64x64 network, batch 512, 10 epochs, 64 environments, one torch thread) trains on the default scenario
and on an environment of equal spaces that does nothing. The two take turns, so that both meet the machine at the same
speed; the figure that counts is the ratio.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from benchmarks.yardstick import hash_rate_mib_per_s, report
from tokenfleet.envs.vector import FleetVectorEnv

NUM_ENVS = 64
ROLLOUT_STEPS = 128


class ZeroCostVectorEnv(VectorEnv[Any, Any, Any]):
    """Returns the same arrays at every step; nothing ends."""

    def __init__(self, like: FleetVectorEnv) -> None:
        """Take the spaces of `like`."""
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = like.num_envs
        self.single_observation_space: gymnasium.Space[Any] = like.single_observation_space
        self.single_action_space: gymnasium.Space[Any] = like.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observation = np.zeros(self.observation_space.shape or (), np.float32)
        self._reward = np.zeros(self.num_envs)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Zeros."""
        return self._observation, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Zeros."""
        return self._observation, self._reward, self._ended, self._ended, {}


def make_ppo(env: VectorEnv[Any, Any, Any]) -> Any:
    """PPO at the benchmark's fixed cost profile."""
    from stable_baselines3 import PPO

    from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv

    return PPO(
        "MlpPolicy",
        Sb3VecEnv(env),
        n_steps=ROLLOUT_STEPS,
        batch_size=512,
        n_epochs=10,
        policy_kwargs={"net_arch": [64, 64], "log_std_init": -1.0},
        device="cpu",
        seed=0,
    )


def seconds_of(model: Any, steps: int) -> float:
    """Wall time of `steps` more environment steps of training."""
    start_s = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    return time.perf_counter() - start_s


def main() -> None:
    """Measure in turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    parser.add_argument("--quick", action="store_true", help="two rounds, rough figures")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    fleet = FleetVectorEnv("default", NUM_ENVS, autoreset_mode=AutoresetMode.SAME_STEP)
    models = {"default scenario": make_ppo(fleet), "zero-cost environment": make_ppo(ZeroCostVectorEnv(fleet))}
    steps = NUM_ENVS * ROLLOUT_STEPS * (1 if arguments.quick else 5)
    for model in models.values():
        seconds_of(model, NUM_ENVS * ROLLOUT_STEPS)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    hashed = []
    for _ in range(2 if arguments.quick else 5):
        hashed.append(hash_rate_mib_per_s())
        for name, model in models.items():
            seconds[name].append(seconds_of(model, steps))
    ratios = np.divide(seconds["zero-cost environment"], seconds["default scenario"])
    rows: list[dict[str, object]] = [
        {
            "measure": f"PPO on the {name}",
            "value": steps / float(np.median(times)),
            "unit": "env-steps/s",
            "per hashed MiB": steps / float(np.median(times)) / float(np.median(hashed)),
        }
        for name, times in seconds.items()
    ]
    rows.append(
        {
            "measure": "real over zero-cost, median of turns",
            "value": float(np.median(ratios)),
            "unit": "share",
            "per hashed MiB": float("nan"),
        }
    )
    report("PPO throughput, 64x64, batch 512, 10 epochs, 64 environments, one thread", rows, arguments.output)


if __name__ == "__main__":
    main()
