"""The configuration of an algorithm that is not shipped; nothing here imports what it names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.trust import is_class_path


def _class_path(value: str) -> str:
    if not is_class_path(value):
        raise ValueError(f"must be module:Class, for example stable_baselines3:PPO (got {value!r})")
    return value


SET_ELSEWHERE = {
    "policy": "algo.policy",
    "policy_kwargs": "algo.policy_kwargs",
    "env": "env.id",
    "seed": "seed",
    "device": "device",
    "tensorboard_log": "tracking",
    "verbose": "log_every",
}
"""Keyword arguments of stable-baselines3 that have a key of their own."""


class CustomSpec(AlgorithmSpec):
    """Any algorithm in the form of stable-baselines3, such as a user's own, with the names of its own arguments.

    In arguments of either kind, a string `module:Class` stands for the class, the name of an activation for that
    activation, and `{initial, final}` for a schedule.

    Attributes:
        model: its class, a subclass of stable-baselines3's `BaseAlgorithm`.
        policy: a name that the class knows, such as `MlpPolicy`, or `module:Class`; None to choose by the observation.
        kwargs: keyword arguments of the class.
        policy_kwargs: keyword arguments of the policy.
    """

    name: Literal["custom"] = "custom"
    model: Annotated[str, AfterValidator(_class_path)]
    policy: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)
    policy_kwargs: dict[str, Any] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the class."""
        return self.model.rpartition(":")[2]

    @model_validator(mode="after")
    def _says_only_what_has_no_key_of_its_own(self) -> Self:
        problems = [f"kwargs.{key}: say {SET_ELSEWHERE[key]}= instead" for key in self.kwargs if key in SET_ELSEWHERE]
        if "use_sde" in self.kwargs:
            hint = "its noise is drawn where a run cannot go on to the bit"
            problems.append(f"kwargs.use_sde: state-dependent exploration is not offered, for {hint}; leave it out")
        if problems:
            raise SpecError(problems)
        return self
