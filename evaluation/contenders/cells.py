"""One cell of the matrix: a shipped policy, or the middle of the action box, on episodes of a scenario."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.policies.base import PolicyContext, State
from tokenfleet.policies.registry import POLICIES, Choice, make_policy, plans_on_copies
from tokenfleet.policies.shipped import LOADED

MIDDLE = "middle"
"""The policy that holds the middle of the action box."""
MEASURED = ("net_value_usd", "slo_attainment", "above_cap_s", "brakes")
TIMED_ROWS = 64
TIMED_DECISIONS = 60


class HoldMiddle:
    """The action 0 at every tick."""

    def __init__(self, context: PolicyContext) -> None:
        self._shape = context.action_space.shape

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], State | None]:
        """See `Policy.predict`."""
        return np.zeros((len(observation), *(self._shape or ())), np.float32), None


def cell_name(scenario: Scenario, name: str) -> str:
    """What the cell of a policy is called on file; a scenario that has changed has cells of other names."""
    return f"{scenario.name}@{scenario_hash(scenario)}/{name}"


def measure_cell(
    scenario: Scenario, choice: Choice | Path, episodes: int, seed: int, split: Split = "validation"
) -> dict[str, Any]:
    """What a policy earns in each episode, and means of the rest; or `refused` where the policy will not play.

    Args:
        scenario: where it acts, by direct actions.
        choice: `MIDDLE`, as the registry takes a policy, or the folder of a checkpoint.
        episodes: how many.
        seed: of the episodes.
        split: of the episodes.
    """

    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(scenario, count, split=split)

    probe = make_env(1)
    try:
        policy = (
            _checkpoint(choice, probe) if isinstance(choice, Path) else _policy(choice, PolicyContext.from_env(probe))
        )
    except SpecError as error:
        return {"refused": str(error.problems[0])}
    finally:
        probe.close()
    rows = evaluate_policy(make_env, Candidate(policy, str(choice)), episodes, seed)
    columns = {key: [row.metrics[key] for row in rows] for key in MEASURED}
    means = {key: float(np.mean(values)) for key, values in columns.items() if key != "net_value_usd"}
    return {"net_value_usd": columns["net_value_usd"], **means}


def measure_decision_ms(scenario: Scenario, name: str) -> float:
    """Median time of a decision for 64 fleets side by side [ms]; it depends on the machine."""
    env = FleetVectorEnv(scenario, TIMED_ROWS, split="validation")
    policy = _policy(name, PolicyContext.from_env(env))
    act = getattr(policy, "decide", policy.predict)
    observation, _ = env.reset(seed=0)
    state, starts, taken_s = None, np.ones(TIMED_ROWS, np.bool_), []
    for _ in range(TIMED_DECISIONS):
        began = time.perf_counter()
        action, state = act(observation, state, starts)
        taken_s.append(time.perf_counter() - began)
        observation, _, terminated, truncated, _ = env.step(action)
        starts = terminated | truncated
    env.close()
    return 1e3 * float(np.median(taken_s))


def contenders(chosen: Sequence[str]) -> list[str]:
    """Those chosen, or the middle and all shipped policies that are measured by themselves.

    Planners on copies would take hours for all, a form without numbers acts as another policy does, and trained
    policies have a page of their own.

    Raises:
        SpecError: one line per name that is not shipped.
    """
    known = [MIDDLE, *POLICIES]
    problems = [f"--policy: {name!r} is no shipped policy" for name in chosen if name not in known]
    if problems:
        raise SpecError(problems)
    return list(chosen) or [name for name in known if name == MIDDLE or _stands_alone(name)]


def _stands_alone(name: str) -> bool:
    return POLICIES[name].group not in ("form", "trained", LOADED) and not plans_on_copies(name)


def _policy(choice: Choice, context: PolicyContext) -> Any:
    return HoldMiddle(context) if choice == MIDDLE else make_policy(choice, context)


def _checkpoint(folder: Path, env: FleetVectorEnv) -> Any:
    from tokenfleet.policies.learned.checkpoint import load_policy

    policy = load_policy(folder)
    policy.check_spaces(env.single_observation_space, env.single_action_space)
    policy.prepare(env)
    return policy
