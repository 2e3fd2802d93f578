"""What every algorithm takes, shipped or not: rates over the run and running normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from typing_extensions import Self

from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, Spec
from tokenfleet.policies.learned.networks import SameNames


class Schedule(Spec):
    """A rate over the run.

    Attributes:
        initial: at the first step.
        final: at the last, with a straight line between; None to stay at `initial`.
    """

    initial: PositiveFloat
    final: NonNegativeFloat | None = None


def _as_schedule(value: Any) -> Any:
    return value if isinstance(value, (Mapping, Schedule)) else {"initial": value}


Rate = Annotated[Schedule, BeforeValidator(_as_schedule)]
"""A number, or `{initial: 3.0e-4, final: 0.0}`."""


class NormalizeSpec(SameNames):
    """Running normalisation of what the algorithm sees; its numbers are part of every checkpoint.

    The names are those of stable-baselines3's `VecNormalize`.

    Attributes:
        norm_obs: subtract the running mean of observations and divide by their running standard deviation.
        norm_reward: divide rewards by the running standard deviation of the discounted return; the mean stays.
        clip_obs, clip_reward: largest magnitude of either afterwards.
    """

    norm_obs: bool = False
    norm_reward: bool = False
    clip_obs: PositiveFloat = 10.0
    clip_reward: PositiveFloat = 10.0


class AlgorithmSpec(SameNames):
    """What every algorithm takes.

    Attributes:
        name: of `ALGORITHMS`.
        normalize: running normalisation.
    """

    name: str
    normalize: NormalizeSpec = NormalizeSpec()

    def written_out(self, read: Callable[[Any], Any]) -> Self:
        """The same, with the content of policy files, as `read` gives it, in place of their names."""
        return self

    def network_parts(self) -> dict[str, Any]:
        """What a policy is rebuilt from, as plain data; code that it names runs when a checkpoint is loaded."""
        return self.model_dump(mode="json")

    @property
    def label(self) -> str:
        """What tables and figures call the algorithm."""
        return self.name

    def group_size(self, num_envs: int) -> int:
        """How many consecutive environments share episodes."""
        return 1

    def environments_problem(self, num_envs: int) -> str | None:
        """Why the algorithm cannot work on so many environments; None where it can."""
        return None
