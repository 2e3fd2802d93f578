"""A planner by forks on top of constants, and its placebo, whose candidates are too small to mean anything.

Now and then the planner asks what would become of each fleet under its constants, or under a few others near them until
the next decision, in the same few drawn futures; it takes another only if that is clearly better. What the placebo
gains is luck with the futures, so the state is worth what the planner gains over the placebo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.evaluation.screen.rollouts import Setting, environment

Float64Array = NDArray[np.float64]

DECISIONS_HELD, LOOK_AHEAD, CANDIDATES, FUTURES = 2, 60, 6, 4
"""Decisions for which a choice holds, ticks that it looks ahead, candidates with the constants, and futures."""
SIZES = {"placebo": 1e-4, "planner": 0.2}
"""Standard deviation of the candidates around the constants, in entries of the action."""
CLEAR = 2.0
"""Standard errors by which a candidate must beat the constants."""


def planned_value_usd(setting: Setting, base: Float64Array, seed: int, size: float) -> Float64Array:
    """Net value of each of the setting's episodes, `[E]` [USD].

    Args:
        setting: where the planner acts.
        base: constants, `[A]`.
        seed: of candidates and futures.
        size: of the candidates; see `SIZES`.
    """
    rng, episodes = np.random.default_rng(seed), len(setting.seeds)
    env = environment(setting, episodes, sees=False)
    env.reset(seed=list(setting.seeds))
    constants = np.repeat(base[None], episodes, axis=0).astype(np.float32)
    chosen, value = constants, np.zeros(episodes)
    running, decision = np.ones(episodes, np.bool_), 0
    while running.any():
        if decision % DECISIONS_HELD == 0 and running.all():
            near = base + size * rng.standard_normal((episodes, CANDIDATES, len(base)))
            near[:, 0] = base
            candidates = np.clip(near, -1.0, 1.0).astype(np.float32)
            plan = [candidates] * DECISIONS_HELD + [np.repeat(constants[:, None], CANDIDATES, axis=1)]
            answer = env.simulate(plan, LOOK_AHEAD, futures=rng.integers(2**31, size=FUTURES).tolist())
            chosen = candidates[np.arange(episodes), clearly_best(answer.value_usd)]
        _, _, terminated, truncated, info = env.step(chosen)
        ended = running & (terminated | truncated)
        if ended.any():
            value[ended] = info["episode_metrics"]["net_value_usd"][ended]
        running &= ~ended
        decision += 1
    env.close()
    return value


def clearly_best(value: Float64Array) -> NDArray[np.intp]:
    """The candidate with the highest mean over futures of `[E, B, F]`, `[E]`; the first where no gain is clear."""
    gain = value - value[:, :1]
    error = gain.std(axis=2, ddof=1) / np.sqrt(gain.shape[2])
    mean = gain.mean(axis=2)
    best: NDArray[np.intp] = np.where(mean > CLEAR * error, mean, 0.0).argmax(axis=1)
    return best
