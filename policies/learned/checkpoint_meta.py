"""What the `meta.json` of a checkpoint holds: plain data, from which the network is rebuilt."""

from __future__ import annotations

import json
import shlex
import textwrap
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.registration import FLEET_ID
from tokenfleet.envs.spec import NonNegativeInt, PositiveFloat, Spec
from tokenfleet.policies.learned.algorithms import AnyAlgorithm
from tokenfleet.policies.learned.limit_inputs import MOST_INPUTS, LimitInputs
from tokenfleet.policies.learned.network_policy import ObservationNormalisation

FORMAT_VERSION: Literal[2] = 2
MOST_META_BYTES = 2 * 2**20


class TrainingOrigin(Spec):
    """Where a policy comes from.

    Attributes:
        environment: its id.
        environment_kwargs: arguments of its constructor.
        environment_wrappers: names, or mappings with `name` and arguments, the innermost first.
        scenario: as plain data; None for an environment that is not a fleet.
        training_seed: of the run.
        timesteps: environment steps that it has been trained for.
        validation_return: mean return on validation episodes at that moment; None without validation.
        multipliers: of the limits under which it was trained, at that moment; for a range, knot by knot.
    """

    environment: str
    environment_kwargs: dict[str, Any] = Field(default_factory=dict)
    environment_wrappers: tuple[str | dict[str, Any], ...] = ()
    scenario: dict[str, Any] | None = None
    training_seed: NonNegativeInt
    timesteps: NonNegativeInt
    validation_return: float | None = None
    multipliers: dict[str, float | tuple[float, ...]] = Field(default_factory=dict)

    @property
    def keys(self) -> str:
        """The environment as it is typed for `evaluate.py`, without its reward and changes to fields of a scenario.

        >>> made = {"environment_kwargs": {"action": "setpoints"}, "scenario": {"name": "tiny"}}
        >>> TrainingOrigin(environment="tokenfleet/Fleet-v0", training_seed=0, timesteps=0, **made).keys
        'scenario=tiny env.kwargs.action=setpoints'
        """
        name = (self.scenario or {}).get("name")
        words = [] if self.environment == FLEET_ID else [f"env.id={self.environment}"]
        words += [f"scenario={name}"] if name else []
        kwargs = {key: value for key, value in self.environment_kwargs.items() if not key.startswith("reward")}
        words += [f"env.kwargs.{key}={_typed(value)}" for key, value in kwargs.items()]
        words += [f"env.wrappers={_typed(self.environment_wrappers)}"] if self.environment_wrappers else []
        return " ".join(shlex.quote(word) for word in words)


def _typed(value: Any) -> str:
    """A value as Hydra reads it, cut off where it would fill the screen."""
    text = json.dumps(value, separators=(",", ":"), default=str).replace('"', "")
    return textwrap.shorten(text, 120, placeholder="...")


class ArrayLayout(Spec):
    """Type and shape of an array beside the weights."""

    dtype: Literal["float32", "float64"]
    shape: tuple[NonNegativeInt, ...]


class BaseMeta(Spec):
    """What the network corrects: a policy of the registry, or one whose own checkpoint is part of this one.

    Attributes:
        reach: see `correction.Base`.
        choice: of the registry.
        checkpoint: of a learned policy; its weights stand beside those of the network.
    """

    reach: PositiveFloat
    choice: str | dict[str, Any] | None = None
    checkpoint: CheckpointMeta | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.choice is None) == (self.checkpoint is None):
            raise ValueError("must be either a choice or a checkpoint")
        return self


class CheckpointMeta(Spec):
    """What `meta.json` holds.

    Attributes:
        format, format_version: of this folder.
        algorithm: name and hyper-parameters.
        observation_space, action_space: of a single environment.
        network_observation_space: what the network sees: images have their channels first, and limits are appended.
        normalisation: of observations; None for none.
        wrapper_statistics: what the wrappers of the environment have learnt, by name.
        base: what the network corrects; None for nothing.
        limits: that the network sees after the observation, in this order.
        origin: where the policy comes from.
        versions: of the packages that wrote it.
        weights_sha256: of `policy.safetensors`; results name the policy by it.
    """

    format: Literal["tokenfleet-checkpoint"] = "tokenfleet-checkpoint"
    format_version: Literal[2] = FORMAT_VERSION
    algorithm: AnyAlgorithm
    observation_space: dict[str, Any]
    action_space: dict[str, Any]
    network_observation_space: dict[str, Any]
    normalisation: ObservationNormalisation | None = None
    wrapper_statistics: dict[str, ArrayLayout] = Field(default_factory=dict)
    base: BaseMeta | None = None
    limits: Annotated[LimitInputs, Field(max_length=MOST_INPUTS)] = ()
    origin: TrainingOrigin
    versions: dict[str, str | None] = Field(default_factory=dict)
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


BaseMeta.model_rebuild()
