"""Where a run's numbers go beside `progress.csv`: the choices of `tracking=`, and what each of them takes.

A choice is a class here with a sentence for each of its keys in `configs/tracking/<name>.yaml`, and a writer in
`tokenfleet.policies.learned.trackers`. Nothing here imports a tracker's library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from tokenfleet.envs.spec import Spec, SpecError, suggest

Text = Annotated[str, Field(min_length=1)]


class TrackingSpec(Spec):
    """What every tracker has.

    Attributes:
        name: of `TRACKERS`.
    """

    name: str


class NoTracking(TrackingSpec):
    """`progress.csv` alone."""

    name: Literal["none"] = "none"


class TensorBoardTracking(TrackingSpec):
    """Event files in the run's folder."""

    name: Literal["tensorboard"] = "tensorboard"


class WandbTracking(TrackingSpec):
    """Weights & Biases.

    Attributes:
        project, entity, group: where the run stands there.
        mode: `offline` keeps the run on this machine.
    """

    name: Literal["wandb"] = "wandb"
    project: Text = "tokenfleet"
    entity: Text | None = None
    group: Text | None = None
    mode: Literal["online", "offline"] = "online"


class MlflowTracking(TrackingSpec):
    """MLflow.

    Attributes:
        uri: of the server, or a folder; None for what MLflow itself is set to.
        experiment: that the run belongs to.
    """

    name: Literal["mlflow"] = "mlflow"
    uri: Text | None = None
    experiment: Text = "tokenfleet"


TRACKERS: dict[str, type[TrackingSpec]] = {
    "none": NoTracking,
    "tensorboard": TensorBoardTracking,
    "wandb": WandbTracking,
    "mlflow": MlflowTracking,
}
"""Every choice by its name."""


def parse_tracking(data: Any, where: str = "tracking") -> TrackingSpec:
    """The choice that `data` describes.

    Args:
        data: a mapping with `name` and any of its fields, or a finished choice.
        where: dotted prefix of every key in a message.

    Raises:
        SpecError: one line per mistake.
    """
    if isinstance(data, TrackingSpec):
        return data
    if not isinstance(data, Mapping):
        raise SpecError([f"{where}: must be a mapping with the name of a tracker (got {data!r})"])
    name = data.get("name")
    if not isinstance(name, str) or name not in TRACKERS:
        raise SpecError([f"{where + '.' if where else ''}name: unknown tracker {name!r}{suggest(name, TRACKERS)}"])
    return TRACKERS[name].parse(data, where)


def _parse_inside(data: Any) -> Any:
    return parse_tracking(data, where="")


AnyTracking = Annotated[SerializeAsAny[TrackingSpec], BeforeValidator(_parse_inside)]
"""A field of a configuration that holds any choice."""
