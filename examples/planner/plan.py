"""A planner beside its placebo: `python examples/planner/plan.py [SCENARIO] [--episodes 8] [--ticks 120]`.

Every few ticks it asks what would become of each fleet if it acted as a rule does, or a little otherwise until the next
decision, and as the rule from then on; each in the same few drawn futures. The planner takes the plan that is best on
average, if that plan beats the rule by more than two standard errors. The placebo plans alike, but its alternatives are
too small to mean anything: what it gains is luck with the futures. `policies=[rollout, rollout_placebo]` is the same as
policies.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.planning.rollout import Shifted, clearly_best
from tokenfleet.policies.registry import make_policy

DECIDE_EVERY, LOOK_AHEAD, CANDIDATES, FUTURES = 10, 100, 8, 8


def shifted(action: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Actions `[N, A]` inside their box."""
    return np.clip(action + shift, -1.0, 1.0).astype(np.float32)


def returns(scenario: str, rule: str, size: float | None, episodes: int, ticks: int) -> np.ndarray:
    """What episodes come to under a rule, or under a planner on top of it, `[N]` [USD].

    Args:
        scenario: a name of the catalogue.
        rule: a name of the registry.
        size: of what the planner changes in an action; None for the rule alone.
        episodes: side by side.
        ticks: of each.
    """
    envs = FleetVectorEnv(scenario, episodes, split="validation", reward_scale=1.0)
    observations, _ = envs.reset(seed=0)
    policy, rng = make_policy(rule, PolicyContext.from_env(envs)), np.random.default_rng(0)
    state, total, shift = None, np.zeros(episodes), np.zeros(envs.action_space.shape or ())
    for tick in range(ticks):
        if size is not None and tick % DECIDE_EVERY == 0:
            shifts = size * rng.standard_normal((episodes, CANDIDATES, *envs.single_action_space.shape))  # type: ignore[misc]
            shifts[:, 0] = 0.0
            futures = rng.integers(2**31, size=FUTURES).tolist()
            plan = Shifted(policy, shifts, FUTURES, DECIDE_EVERY)
            answer = envs.simulate(plan, LOOK_AHEAD, branches=CANDIDATES, futures=futures, state=state)
            shift = shifts[np.arange(episodes), clearly_best(answer.reward)]
        action, state = policy.predict(observations, state, np.full(episodes, tick == 0))
        observations, rewards, *_ = envs.step(shifted(action, shift))
        total += rewards
    return total


def rows(scenario: str, episodes: int, ticks: int) -> Iterator[str]:
    """The rule, the placebo and the planner, and what the two gain over the rule."""
    alone = returns(scenario, "feedback_capping", None, episodes, ticks)
    yield f"rule      {alone.mean():.3f} USD"
    for name, size in (("placebo", 1e-4), ("planner", 0.2)):
        gain = returns(scenario, "feedback_capping", size, episodes, ticks) - alone
        error = gain.std(ddof=1) / np.sqrt(episodes)
        yield f"{name:9s} {(alone + gain).mean():.3f} USD, {gain.mean():+.3f} +- {error:.3f} against the rule"


def main() -> None:
    """Print one line a policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="burst")
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--ticks", type=int, default=120)
    arguments = parser.parse_args()
    for row in rows(arguments.scenario, arguments.episodes, arguments.ticks):
        print(row, flush=True)


if __name__ == "__main__":
    main()
