"""What the middle of each action box earns beside the best shipped rule; see `python -m tests.scenario.middles`.

The command prints a table, and pins the name of the best rule of every scenario; the test measures that rule again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import POLICIES, make_policy

PINNED = Path(__file__).with_suffix(".json")
RULES = tuple(name for name in POLICIES if name not in ("random", "supervisor"))


def middle_usd(scenario: str, action: str, episodes: int) -> float:
    """Mean net value of validation episodes in which the action 0 is held [USD]."""
    env = FleetVectorEnv(scenario, episodes, split="validation", action=action)
    zeros = np.zeros(env.action_space.shape, np.float32)
    return _net_value_usd(env, lambda observations, state, starts: (zeros, None))


def rule_usd(scenario: str, rule: str, episodes: int) -> float:
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


def main() -> None:
    """Measure every rule, print, pin the best."""
    pinned = {}
    for name in sorted(catalog_names("scenario")):
        rules = {rule: rule_usd(name, rule, 16) for rule in RULES}
        pinned[name] = best = max(rules, key=lambda rule: rules[rule])
        shares = [f"{action} {middle_usd(name, action, 16) / rules[best]:.2f}" for action in ("direct", "setpoints")]
        print(f"{name}: {best} {rules[best]:.3f} USD; of that the middle of {', '.join(shares)}", flush=True)
    PINNED.write_text(json.dumps(pinned, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
