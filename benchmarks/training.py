"""How much of PPO's time the environment takes: `python -m benchmarks.training [--output FILE.json] [--quick]`.

The same PPO (64x64 network, batch 512, 10 epochs, 64 environments, one torch thread) trains on a fleet and on its
twin, an environment of equal spaces that does nothing. The two take turns of one rollout, so that both meet the machine
at the same speed. Rollouts are added up over rounds in which every fleet ends an episode and draws the next; the figure
that counts is the median ratio of the rounds. The engine works with one thread, then with two.
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

from benchmarks.scenarios import sixteen_replicas
from benchmarks.yardstick import report
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.vector import FleetVectorEnv

NUM_ENVS = 64
ROLLOUT_STEPS = 128


class ZeroCostVectorEnv(VectorEnv[Any, Any, Any]):
    """Returns the same arrays at every step; nothing ends.

    The arrays hold noise rather than zeros: a network that sees only zeros has no gradients, and PPO would work on
    numbers foreign to any training.
    """

    def __init__(self, like: FleetVectorEnv) -> None:
        """Take the spaces of `like`."""
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = like.num_envs
        self.single_observation_space: gymnasium.Space[Any] = like.single_observation_space
        self.single_action_space: gymnasium.Space[Any] = like.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        noise = np.random.default_rng(0)
        self._observation = noise.random(self.observation_space.shape, np.float32)
        self._reward = noise.standard_normal(self.num_envs)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """The noise."""
        return self._observation, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """The noise."""
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


def seconds_of_rollout(model: Any) -> float:
    """Wall time of one more rollout and what is learned from it."""
    start_s = time.perf_counter()
    model.learn(NUM_ENVS * ROLLOUT_STEPS, reset_num_timesteps=False)
    return time.perf_counter() - start_s


def compare(scenario: str | Scenario, rounds: int, rollouts: int, threads: int) -> tuple[float, float, float]:
    """Environment steps per second of PPO on a scenario and its zero-cost twin, and the median ratio of the rounds."""
    fleet = FleetVectorEnv(scenario, NUM_ENVS, threads=threads, autoreset_mode=AutoresetMode.SAME_STEP)
    models = make_ppo(fleet), make_ppo(ZeroCostVectorEnv(fleet))
    for model in models:
        seconds_of_rollout(model)
    turns = np.array([[seconds_of_rollout(model) for model in models] for _ in range(rounds * rollouts)])
    round_s = turns.reshape(rounds, rollouts, 2).sum(axis=1)
    real_s, idle_s = np.median(round_s, axis=0)
    steps = NUM_ENVS * ROLLOUT_STEPS * rollouts
    return steps / float(real_s), steps / float(idle_s), float(np.median(round_s[:, 1] / round_s[:, 0]))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    parser.add_argument("--quick", action="store_true", help="two short rounds, rough figures")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    rounds, rollouts = (2, 1) if arguments.quick else (7, 5)
    scenarios: dict[str, str | Scenario] = {
        "16 replicas, 20 requests per step": sixteen_replicas(20.0, tick_s=1.0, horizon_ticks=600),
        "default scenario": "default",
    }
    rows: list[dict[str, object]] = []
    for name, scenario in scenarios.items():
        for threads in (1, 2):
            real, idle, ratio = compare(scenario, rounds, rollouts, threads)
            rows.append(
                {
                    "measure": f"{name}; engine threads: {threads}",
                    "env-steps/s": real,
                    "on a zero-cost twin": idle,
                    "real over zero-cost": ratio,
                }
            )
    report("PPO throughput, 64x64, batch 512, 10 epochs, 64 environments, one thread", rows, arguments.output)


if __name__ == "__main__":
    main()
