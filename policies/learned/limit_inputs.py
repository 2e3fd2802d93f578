"""The limit of an episode as an input of a network: one entry for each limit, after those of the observation.

A policy of this kind serves a whole range of limits, and is told at each episode which one holds (Carrara et al. 2019,
"Budgeted reinforcement learning in continuous state space"; Yao et al. 2023, "Constraint-conditioned policy
optimization for versatile safe reinforcement learning").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import Spec, SpecError, shown

MOST_KNOTS, MOST_INPUTS = 16, 64
Float32Array = NDArray[np.float32]


class LimitInput(Spec):
    """A limit that a network sees: -1 at the first knot, 1 at the last, and the others evenly between.

    Attributes:
        name: of the metric that is limited.
        knots: values of the limit, ascending.
    """

    name: Annotated[str, Field(min_length=1, max_length=256)]
    knots: Annotated[
        tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=2, max_length=MOST_KNOTS)
    ]

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if any(first >= second for first, second in pairwise(self.knots)):
            raise ValueError(f"knots must ascend (got {shown(list(self.knots))})")
        return self

    @property
    def key(self) -> str:
        """What a configuration calls the limit."""
        return f"limits.{self.name.replace('/', '.')}"

    @property
    def span(self) -> str:
        """The range in words."""
        return f"{self.knots[0]:g} to {self.knots[-1]:g}"

    def place(self, value: float) -> float:
        """What the network sees of a limit, in [-1, 1].

        Raises:
            SpecError: it lies outside the range.
        """
        if not self.knots[0] <= value <= self.knots[-1]:
            raise SpecError(
                [f"{self.key}: must lie in the range that the policy was trained for, {self.span} (got {value:g})"]
            )
        return float(np.interp(value, self.knots, np.linspace(-1.0, 1.0, len(self.knots))))


LimitInputs = tuple[LimitInput, ...]


def places_of(inputs: LimitInputs, chosen: Mapping[str, float]) -> Float32Array:
    """What a network sees of chosen limits, `[L]`.

    Args:
        inputs: limits that the network sees.
        chosen: values by the name of the limit.

    Raises:
        SpecError: one line per limit that is missing, unknown to the policy, or outside its range.
    """
    problems, places = [], []
    known = {one.name: one for one in inputs}
    for name in chosen.keys() - known.keys():
        sees = ", ".join(one.key for one in inputs) or "no limit"
        problems.append(f"limits.{name.replace('/', '.')}: is no input of the policy, which sees {sees}; leave it out")
    for name, one in known.items():
        try:
            places.append(one.place(chosen[name]))
        except KeyError:
            problems.append(f"{one.key}: missing; the policy was trained for {one.span}, say within which it shall act")
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(sorted(problems))
    return np.array(places, np.float32)


def seen_space(observation: Space[Any], inputs: Sequence[LimitInput]) -> Space[Any]:
    """The space of what a network sees of an environment with these observations.

    Raises:
        SpecError: limits cannot be appended to such observations.
    """
    if not inputs:
        return observation
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 1 or observation.dtype.kind != "f":
        names = ", ".join(one.key for one in inputs)
        hint = "flatten them by a wrapper, or give one number"
        raise SpecError(
            [f"{names}: a range stands behind flat observations of floats alone (got {observation}); {hint}"]
        )
    ends = np.ones(len(inputs), observation.dtype)
    low, high = (np.concatenate([bound, end]) for bound, end in ((observation.low, -ends), (observation.high, ends)))
    return spaces.Box(low, high, dtype=observation.dtype.type)


def seen(observation: NDArray[Any], places: Float32Array) -> NDArray[Any]:
    """Observations with the limits appended.

    Args:
        observation: `[N, D]`.
        places: the same for all `[L]`, or one row for each `[N, L]`.

    Returns:
        `[N, D + L]`, of the type of the observations.
    """
    behind = np.broadcast_to(places, (len(observation), places.shape[-1]))
    return np.concatenate([observation, behind.astype(observation.dtype)], axis=1)
