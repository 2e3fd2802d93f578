"""Set-points that move with a few features, linearly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.heuristics.linear.features import Features, FeatureScale
from tokenfleet.policies.heuristics.linear.law import entries_of, scaled
from tokenfleet.policies.heuristics.linear.numbers import Entries, Gains, Numbers, Scales
from tokenfleet.policies.heuristics.state_feedback import StateFeedback
from tokenfleet.policies.heuristics.supervisor import supervisor_parameters

Float64Array = NDArray[np.float64]
EXACT = 17
"""Significant digits that identify a float64."""


class LinearFeedback(StateFeedback):
    """Set-points that are linear in a few features: a screen of scenarios tunes them as feedback.

    A set-point is `base + gains * features` as an entry of the action `setpoints`, cut to [-1, 1]. Features are counted
    in standard deviations from their mean, cut at 4 (`features.NAMES`). Some are means over the past minute.
    See `StateFeedback` for where and when it acts.

    Args:
        context: the environment.
        gains: by set-point, entry and feature: what the entry gains per standard deviation.
        scale: by feature and row (a site or a class): mean and standard deviation of the features that gains follow.
        entries: by set-point and entry: where the entry stands while its features are at their means. It overrides the
            constant, because several entries can mean the same constant, such as those around the usual replicas.
        constants: all other set-points, as parameters of `Supervisor`, and `decide_every`.

    Raises:
        SpecError: a name that the scenario does not have, a number outside its bounds, or a feature without a scale.
    """

    def __init__(
        self,
        context: PolicyContext,
        *,
        gains: Gains | None = None,
        scale: Scales | None = None,
        entries: Entries | None = None,
        **constants: Any,
    ) -> None:
        super().__init__(context, **constants)
        self._numbers = Numbers(self.scenario, tuple(self._box.table), f"policy.{self.name}")
        held = self._box.encode(self.setpoints)[0].astype(np.float64)
        self._base, self._gains, self._scale = self._numbers.read(held, gains or {}, entries or {}, scale or {})

    def make_reader(self) -> Features:
        """See `StateFeedback.make_reader`."""
        return Features(self.scenario)

    def entries_for(self, features: Float64Array) -> NDArray[np.float32]:
        """See `StateFeedback.entries_for`."""
        return entries_of(self._base, self._gains, scaled(features, self._scale)[:, self._numbers.follows])

    def tuned_from(self) -> Float64Array:
        """Where a tuner begins: base entries, then the gains that are not zero."""
        return np.concatenate([self._base, self._gains[self._gains != 0.0]])

    def tuned_to(self, numbers: Float64Array) -> dict[str, Any]:
        """The parameters that numbers in the order of `tuned_from` stand for."""
        gains = self._gains.copy()
        gains[gains != 0.0] = numbers[len(self._base) :]
        return feedback_parameters(self.scenario, self._numbers, numbers[: len(self._base)], gains, self._scale)


def feedback_parameters(
    scenario: Scenario, numbers: Numbers, base: Float64Array, gains: Float64Array, scale: FeatureScale
) -> dict[str, Any]:
    """Parameters with which `LinearFeedback` acts as these arrays say, to the bit.

    Args:
        scenario: of the fleets.
        numbers: of the scenario.
        base: entries of the action, `[A]`.
        gains: `[A, F]`.
        scale: of the features.
    """
    moves = numbers.written(base, gains, scale)
    held = supervisor_parameters(scenario, np.clip(base, -1.0, 1.0).astype(np.float32), EXACT)
    constants = {
        name: {entry: value for entry, value in by_entry.items() if entry not in moves["entries"].get(name, {})}
        for name, by_entry in held.items()
    }
    return {**{name: by_entry for name, by_entry in constants.items() if by_entry}, **moves}
