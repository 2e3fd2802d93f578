"""A checkpoint as a policy of the registry, so that one can ship under a name like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError, shown
from tokenfleet.policies.base import PolicyContext, State
from tokenfleet.policies.learned.checkpoint import load_policy
from tokenfleet.policies.learned.layout import named_checkpoint
from tokenfleet.policies.learned.limits import ChosenLimits


class CheckpointPolicy:
    """The policy of a checkpoint.

    Args:
        context: the environment that it will act in.
        folder: the name of a shipped checkpoint, a folder written by train.py, or a run, for its best checkpoint.
        limits: that it shall keep, if it was trained for ranges of limits; see `limits.ChosenLimits`.

    Raises:
        SpecError: there is no sound checkpoint, it names code, it does not fit the environment, or it was trained for
            other limits.
    """

    def __init__(self, context: PolicyContext, *, folder: str, limits: Mapping[str, Any] | None = None) -> None:
        learned = load_policy(named_checkpoint(folder))
        chosen = ChosenLimits.parse(limits or {}, "policy.limits").by_name()
        if any(len(values) > 1 for values in chosen.values()):
            raise SpecError([f"policy.limits: one number for each limit (got {shown(limits)})"])
        try:
            self._policy = learned.within({name: values[0] for name, values in chosen.items()})
        except SpecError as error:
            raise SpecError([f"policy.{line} (checkpoint {folder})" for line in error.problems]) from None
        if self._policy.has_wrapper_statistics:
            raise SpecError(
                [f"policy.folder: {folder} was trained under wrappers that learn; evaluate it by checkpoint="]
            )
        self._policy.check_spaces(context.observation_space, context.action_space)
        self._policy.act_in(context)

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State | None]:
        """See `tokenfleet.policies.base.Policy`."""
        return self._policy.predict(observation, state, episode_start, deterministic)
