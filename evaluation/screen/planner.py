"""A planner by forks on top of constants, and its placebo, whose candidates are too small to mean anything.

The planner is `tokenfleet.policies.planning.rollout`, around constants. The placebo's gain is luck with the futures, so
the worth of the state is the planner's gain over the placebo.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.screen.rollouts import RolloutSetting, environment
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.planning.rollout import RolloutPlanner
from tokenfleet.policies.shipped import PLACEBO_SIZE

Float64Array = NDArray[np.float64]

DECISIONS_HELD, LOOK_AHEAD, CANDIDATES, FUTURES = 2, 60, 6, 4
"""Decisions that a choice lasts, ticks of a look ahead, candidates with the constants, and futures."""
SIZES = {"placebo": PLACEBO_SIZE, "planner": 0.2}
"""Standard deviation of the candidates around the constants, in entries of the action."""


class Constants:
    """The same action at every decision, `[A]`."""

    def __init__(self, action: Float64Array) -> None:
        self._action = action.astype(np.float32)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.float32], None]:
        """See `Policy.predict`."""
        return np.repeat(self._action[None], len(observation), axis=0), None


def planned_value_usd(setting: RolloutSetting, base: Float64Array, seed: int, size: float) -> Float64Array:
    """Net value of each of the setting's episodes, `[E]` [USD].

    Args:
        setting: where the planner acts.
        base: constants, `[A]`.
        seed: of candidates and futures.
        size: of the candidates; see `SIZES`.
    """
    episodes = len(setting.seeds)
    env = environment(setting, episodes, sees=False)
    planner = RolloutPlanner(
        PolicyContext.from_env(env, seed=seed),
        Constants(base),
        look_ahead=LOOK_AHEAD,
        decide_every=DECISIONS_HELD,
        candidates=CANDIDATES,
        futures=FUTURES,
        size=size,
    )
    planner.begin_episodes(setting.seeds)
    observation, _ = env.reset(seed=list(setting.seeds))
    state, starts, value = None, np.ones(episodes, np.bool_), np.zeros(episodes)
    running = np.ones(episodes, np.bool_)
    while running.any():
        action, state = planner.predict(observation, state, starts)
        observation, _, terminated, truncated, info = env.step(action)
        ended = running & (terminated | truncated)
        if ended.any():
            value[ended] = info["episode_metrics"]["net_value_usd"][ended]
        running &= ~ended
        starts = np.zeros(episodes, np.bool_)
    env.close()
    return value
