"""A teacher in an environment: whoever acts there, the teacher says what it would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.user_code import Guard, check_numbers, is_ours, named
from tokenfleet.policies.base import Policy
from tokenfleet.policies.learned.checkpoint import load_base
from tokenfleet.policies.learned.correction import WatchedEnv, base_of
from tokenfleet.policies.learned.imitation_spec import TEACHER_KEY
from tokenfleet.policies.learned.wrapper_state import wrapper_of
from tokenfleet.policies.policy_files import told_under
from tokenfleet.policies.registry import Choice

DIGEST_BYTES = 32


class TaughtEnv(WatchedEnv):
    """An environment that a teacher watches; its actions are those of the environment.

    Args:
        env: whose actions are a box.
        teacher: placed in it; all that it remembers is in its `State`, so that it can watch while others act.
        choice: what messages call it.
        digest: SHA-256 of the teacher's weights, `[32]` uint8; zeros where it has none.

    Attributes:
        digest: as given.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], teacher: Policy, choice: Choice, digest: NDArray[np.uint8]
    ) -> None:
        super().__init__(env, teacher)
        self.digest = digest
        self._guard = None if is_ours(teacher) else Guard(named(TEACHER_KEY, choice))
        self._asked = 0

    def labels(self) -> NDArray[Any]:
        """What the teacher would do now, `[N, A]`, cut to the box; to be called once before every step.

        Raises:
            SpecError: the teacher cannot act here.
        """
        draws = getattr(self._policy, "begin_episodes", None)
        if draws is not None:  # generators that a teacher kept from step to step would be lost in an interruption
            draws(np.random.SeedSequence(self._asked).generate_state(self.num_envs).tolist())
        self._asked += 1
        with self._guard or nullcontext():
            actions = self._answers()
        if self._guard is not None:
            check_numbers(self._guard, "actions [N, ...]", actions, self.env.action_space.shape or ())
        box = self.env.single_action_space
        assert isinstance(box, spaces.Box)
        inside: NDArray[Any] = np.clip(actions, box.low, box.high).astype(box.dtype)
        return inside

    def get_state(self) -> dict[str, Any]:
        """See `WatchedEnv.get_state`."""
        return super().get_state() | {"asked": self._asked}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See `WatchedEnv.set_state`."""
        super().set_state(state)
        self._asked = int(state["asked"])


def taught(env: VectorEnv[Any, Any, Any], choice: Choice, trust: Iterable[str] = ()) -> TaughtEnv:
    """An environment with a teacher that is named as `algo.teacher` names it.

    Args:
        env: to watch.
        choice: of the teacher.
        trust: modules whose code a teacher's checkpoint may name.

    Raises:
        SpecError: there is no such policy, it cannot act there, observations are no box, or actions are corrections.
    """
    seen = env.single_observation_space
    if not isinstance(seen, spaces.Box):
        raise SpecError([f"env: imitation keeps observations of a Box alone (got {seen}); flatten them by a wrapper"])
    if base_of(env) is not None:
        hint = "leave it out, and correct the trained run in a run of its own, by policy.base=<run>"
        raise SpecError([f"policy.base: imitation learns the teacher's whole actions and corrects nothing; {hint}"])
    with told_under(TEACHER_KEY):
        found = load_base(choice, reach=1.0, trust=trust)
        teacher = found.policy_in(env)
    digest = np.zeros(DIGEST_BYTES, np.uint8)
    if found.learned is not None:
        digest = np.frombuffer(bytes.fromhex(found.learned.meta.weights_sha256), np.uint8).copy()
    return TaughtEnv(env, teacher, choice, digest)


def taught_env(env: VectorEnv[Any, Any, Any]) -> TaughtEnv | None:
    """The `TaughtEnv` among an environment's wrappers; None for none."""
    return wrapper_of(env, TaughtEnv)
