"""What the middle of each action box, and a shipped rule, earn in the same validation episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import Choice, make_policy


def middle_usd(scenario: str, action: str, episodes: int) -> float:
    """Mean net value of validation episodes in which the action 0 is held [USD]."""
    env = FleetVectorEnv(scenario, episodes, split="validation", action=action)
    zeros = np.zeros(env.action_space.shape, np.float32)
    return _net_value_usd(env, lambda observations, state, starts: (zeros, None))


def rule_usd(scenario: str, rule: Choice, episodes: int) -> float:
    """Mean net value of the same episodes under a shipped rule [USD]."""
    env = FleetVectorEnv(scenario, episodes, split="validation")
    policy: Any = make_policy(rule, PolicyContext.from_env(env))
    return _net_value_usd(env, policy.decide)


def _net_value_usd(env: FleetVectorEnv, act: Callable[..., Any]) -> float:
    observations, _ = env.reset(seed=1000)
    state, starts, value_usd = None, np.ones(env.num_envs, np.bool_), np.full(env.num_envs, np.nan)
    while np.isnan(value_usd).any():
        actions, state = act(observations, state, starts)
        observations, *_, info = env.step(actions)
        starts = np.zeros(env.num_envs, np.bool_)
        ended = info["_episode_metrics"] & np.isnan(value_usd)
        value_usd[ended] = info["episode_metrics"]["net_value_usd"][ended]
    return float(value_usd.mean())
