"""A network that corrects another policy, its base: the base's action plus `reach` times the network's output.

In training the base is part of the environment (`CorrectedEnv`), so every algorithm sees a plain environment with
corrections as actions. A checkpoint holds network and base, and its policy acts in the environment as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.base import Policy, PolicyContext, State
from tokenfleet.policies.learned.wrapper_state import wrapper_of
from tokenfleet.policies.policy_files import told_under
from tokenfleet.policies.registry import build_policy

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy

    from tokenfleet.policies.learned.rebuilding import LearnedPolicy

BASE_KEY = "policy.base"
"""What messages call the base."""


@dataclass(frozen=True)
class Base:
    """What is corrected: a policy of the registry, or one that has been learned.

    Attributes:
        reach: the largest correction over the largest action.
        choice: of the registry, no file; None for a learned policy.
        learned: None for a policy of the registry.
    """

    reach: float
    choice: str | Mapping[str, Any] | None = None
    learned: LearnedPolicy | None = None

    def policy_in(self, env: VectorEnv[Any, Any, Any]) -> Policy:
        """The base, placed in an environment, whose wrappers take over the statistics of a learned base.

        Raises:
            SpecError: it cannot act there.
        """
        if self.learned is not None:
            self.learned.check_spaces(env.single_observation_space, env.single_action_space)
            self.learned.prepare(env)
            return self.learned
        return self.policy_for(PolicyContext.from_env(env))

    def policy_for(self, context: PolicyContext) -> Policy:
        """The same, in an environment without wrappers that learn.

        Raises:
            SpecError: it cannot act there.
        """
        if self.learned is not None:
            self.learned.check_spaces(context.observation_space, context.action_space)
            self.learned.act_in(context)
            return self.learned
        assert self.choice is not None
        return build_policy(self.choice, context)


class WatchedEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """An environment that a policy watches: it can be asked for its action before every step, and its state is kept.

    Args:
        env: in autoreset mode `SAME_STEP`.
        policy: placed in it.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], policy: Policy) -> None:
        super().__init__(env)
        self._policy = policy
        self._observation: Any = None
        self._state: State | None = None
        self._starts = np.ones(env.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `VectorEnv.reset`."""
        observation, infos = self.env.reset(seed=seed, options=options)
        begun = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        self._observation, self._starts = np.array(observation), self._starts | begun
        return observation, infos

    def step(self, actions: NDArray[Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `VectorEnv.step`."""
        result = self.env.step(actions)
        self._observation, self._starts = np.array(result[0]), result[2] | result[3]
        return result

    def get_state(self) -> dict[str, Any]:
        """What it needs to go on after an interruption, as plain data and arrays."""
        state = None if self._state is None else list(self._state)
        return {"observation": self._observation, "state": state, "starts": self._starts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self._observation = np.array(state["observation"])
        self._state = None if state["state"] is None else tuple(np.array(part) for part in state["state"])
        self._starts = np.array(state["starts"])

    def _answers(self) -> NDArray[Any]:
        """What the policy would do now, deterministically, `[N, A]`; to be called once before every step."""
        actions, self._state = self._policy.predict(self._observation, self._state, self._starts, deterministic=True)
        answers: NDArray[Any] = actions
        return answers


class CorrectedEnv(WatchedEnv):
    """An environment with actions that correct those of a base.

    Args:
        env: whose actions are a box around 0.
        base: acts in it deterministically.

    Raises:
        SpecError: another kind of action, or a base that cannot act here.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], base: Base) -> None:
        box = env.single_action_space
        if not isinstance(box, spaces.Box) or not np.array_equal(box.low, -box.high):
            raise SpecError([f"{BASE_KEY}: only actions in a box around 0 can be corrected (got {box})"])
        with told_under(BASE_KEY):
            policy = base.policy_in(env)
        super().__init__(env, policy)
        self.base, self._box = base, box

    def step(self, actions: NDArray[Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `VectorEnv.step`; `actions` are corrections `[N, A]`."""
        return super().step(corrected(self._answers(), actions, self.base.reach, self._box))


def corrected(base: NDArray[Any], corrections: NDArray[Any], reach: float, box: spaces.Box) -> NDArray[Any]:
    """Actions `[N, A]` of the base with corrections, cut to the box; those of the base where corrections are 0."""
    actions: NDArray[Any] = np.clip(base + reach * corrections, box.low, box.high).astype(box.dtype)
    return actions


def base_of(env: VectorEnv[Any, Any, Any]) -> Base | None:
    """What is corrected in an environment; None for nothing."""
    found = wrapper_of(env, CorrectedEnv)
    return None if found is None else found.base


def combined_state(network: State | None, base: State | None) -> State | None:
    """The state of the network, followed by that of the base."""
    return (*(network or ()), *(base or ())) or None


def parted_state(state: State | None, network: BasePolicy) -> tuple[State | None, State | None]:
    """The inverse of `combined_state`."""
    if state is None:
        return None, None
    parts = 2 if hasattr(network, "lstm_actor") else 0
    return state[:parts] or None, state[parts:] or None
