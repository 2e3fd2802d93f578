"""Limits on the costs of an episode: what may be asked for, and what it means in a fleet.

A limit is on a mean over episodes, `E[cost] <= most`. A limit of several numbers (knots) stands for the whole range
from the first to the last: every episode draws its own, and the policy sees it. `limited_env` keeps the limits.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator
from typing_extensions import Self

from tokenfleet.envs.interface.costs import ABOVE_CAP_S
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import (
    Name,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    Spec,
    SpecError,
    shown,
    suggest,
)
from tokenfleet.policies.learned.limit_inputs import MOST_KNOTS, LimitInput

ATTAINMENT = "slo_attainment"
MOST_SETTINGS = 16
"""Most combinations of knots that are validated."""
Number = TypeVar("Number")


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


def _plain(numbers: tuple[float, ...]) -> float | list[float]:
    """A single number without its tuple, several as a list."""
    return numbers[0] if len(numbers) == 1 else list(numbers)


def _typed(knots: tuple[float, ...]) -> str:
    return f"[{','.join(f'{knot:g}' for knot in knots)}]"


def _ascending(knots: tuple[float, ...]) -> tuple[float, ...]:
    if any(first >= second for first, second in pairwise(knots)):
        raise ValueError(f"must be a number, or several in ascending order (got {shown(list(knots))})")
    return knots


Numbers = Annotated[
    tuple[Number, ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=MOST_KNOTS),
    PlainSerializer(_plain),
]
"""A number, or several."""
Knots = Annotated[Numbers[Number], AfterValidator(_ascending)]
"""A number, or several in ascending order that stand for all between them."""


class LimitsSpec(Spec):
    """What an episode may cost on average.

    Attributes:
        above_cap_s: most seconds above a cap in an episode, summed over sites and rows; None for no limit.
        above_cap_tolerance_s: seconds beyond the limit that are forgiven when validation chooses a policy, since a mean
            over some dozens of episodes is no more exact; training aims at the limit itself.
        slo_attainment: by class, the least share of its ended requests that meet their SLO.
        rate: step of a multiplier at a relative excess of 1, in what a tick earns if every request is in time.
    """

    above_cap_s: Knots[NonNegativeFloat] | None = None
    above_cap_tolerance_s: NonNegativeFloat = 0.0
    slo_attainment: dict[Name, Knots[PositiveFraction]] = Field(default_factory=dict)
    rate: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _can_be_validated(self) -> Self:
        count = math.prod(len(knots) for knots in (self.above_cap_s or (0.0,), *self.slo_attainment.values()))
        if count > MOST_SETTINGS:
            most = f"{count} combinations of these numbers would be validated; give at most {MOST_SETTINGS}"
            raise ValueError(most)
        return self

    @property
    def any(self) -> bool:
        """Whether there is a limit."""
        return self.above_cap_s is not None or bool(self.slo_attainment)

    @property
    def ranges(self) -> str:
        """Keys by which `evaluate.py` is told every knot of every range, with a space before each.

        >>> LimitsSpec(above_cap_s=[10, 20], slo_attainment={"chat": [0.9, 0.99]}).ranges
        " 'limits.above_cap_s=[10,20]' 'limits.slo_attainment={chat: [0.9,0.99]}'"
        """
        shares = [f"{name}: {_typed(knots)}" for name, knots in self.slo_attainment.items() if len(knots) > 1]
        seconds = self.above_cap_s or ()
        words = [f"limits.above_cap_s={_typed(seconds)}"] if len(seconds) > 1 else []
        words += [f"limits.slo_attainment={{{', '.join(shares)}}}"] if shares else []
        return "".join(f" {shlex.quote(word)}" for word in words)


class ChosenLimits(Spec):
    """The limits under which policies trained for ranges act; several numbers compare several limits.

    Attributes:
        above_cap_s: see `LimitsSpec`.
        slo_attainment: see `LimitsSpec`.
    """

    above_cap_s: Numbers[float] | None = None
    slo_attainment: dict[Name, Numbers[float]] = Field(default_factory=dict)

    def by_name(self) -> dict[str, tuple[float, ...]]:
        """What is chosen, by the name of the limit."""
        seconds = {} if self.above_cap_s is None else {ABOVE_CAP_S: self.above_cap_s}
        return seconds | {f"{ATTAINMENT}/{name}": values for name, values in self.slo_attainment.items()}

    def choices(self, inputs: tuple[LimitInput, ...]) -> list[dict[str, float]]:
        """Every combination of the chosen limits that are inputs of a policy."""
        return combinations(
            {name: values for name, values in self.by_name().items() if name in {i.name for i in inputs}}
        )


def combinations(values: Mapping[str, tuple[float, ...]]) -> list[dict[str, float]]:
    """One value for each name, in every combination.

    >>> combinations({"a": (1.0, 2.0), "b": (3.0,)})
    [{'a': 1.0, 'b': 3.0}, {'a': 2.0, 'b': 3.0}]
    """
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


@dataclass(frozen=True)
class Limit:
    """A limit on the mean of a cost over episodes, or on the share that one cost is of another.

    Attributes:
        name: of the metric that tells the cost.
        cost: a term of `WithCosts`.
        share_of: the term that the cost is a share of; None for a sum over an episode.
        knots: the limit of the metric, a lower one for a share; episodes draw between several.
        unit: amount of the cost that takes 1 off the reward at a multiplier of 1.
        tolerance: how far beyond the limit a mean over few episodes counts as within it.
    """

    name: str
    cost: str
    share_of: str | None
    knots: tuple[float, ...]
    unit: float
    tolerance: float = 0.0

    def cost_of(self, metric: float) -> float:
        """The sum, or the share, that a value of the metric means."""
        return metric if self.share_of is None else 1.0 - metric

    def beyond(self, cost: float, most: float) -> float:
        """The relative excess of a mean cost over few episodes; 0 within the tolerance."""
        return relative_excess(cost, most) if cost > most + self.tolerance else 0.0

    @property
    def input(self) -> LimitInput | None:
        """What a policy sees of the limit; None for a limit that is the same in every episode."""
        return LimitInput(name=self.name, knots=self.knots) if len(self.knots) > 1 else None


def relative_excess(cost: float, most: float) -> float:
    """How far a mean cost lies above its limit, as a share of the sum of both, in [-1, 1]; 0 at the limit."""
    total = cost + most
    return (cost - most) / total if total > 0.0 else 0.0


def limits_of(spec: LimitsSpec, scenario: Scenario) -> tuple[Limit, ...]:
    """The limits of a fleet.

    At a multiplier of 1, a tick above a cap costs what a fleet earns in a tick, and so does missing all requests of a
    class in a mean tick. A class earns no more than all classes together, so a multiplier stays in the order of 1.

    Raises:
        SpecError: an unknown class, or one without a stream.
    """
    limits = []
    if spec.above_cap_s is not None:
        tolerance_s = spec.above_cap_tolerance_s
        limits.append(Limit(ABOVE_CAP_S, ABOVE_CAP_S, None, spec.above_cap_s, scenario.tick_s, tolerance_s))
    for name, knots in spec.slo_attainment.items():
        where = f"limits.{ATTAINMENT}.{name}"
        if name not in scenario.classes:
            raise SpecError([f"{where}: unknown class{suggest(name, scenario.classes)}"])
        each_tick = scenario.mean_rate_rps(name) * scenario.tick_s
        if each_tick <= 0.0:
            raise SpecError([f"{where}: no stream of the workload sends requests of this class"])
        limits.append(Limit(f"{ATTAINMENT}/{name}", f"missed/{name}", f"ended/{name}", knots, each_tick))
    return tuple(limits)
