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
"""Digits by which a float64 is known."""


class LinearFeedback(StateFeedback):
    """Set-points that are linear in a few features: what is tuned as feedback by a screen of scenarios.

    A set-point is `base + gains * features` as an entry of the action `setpoints`, cut to [-1, 1]. Features are counted
    in standard deviations from their mean, cut at 4 (`features.NAMES`). Some are means over the past minute.
    See `StateFeedback` for where and when it acts.

    Args:
        context: the environment.
        gains: by set-point, entry and feature: what the entry gains with one standard deviation.
        scale: mean and standard deviation by feature and row, which is a site or a class; of those that gains follow.
        entries: by set-point and entry: where the entry stands while its features stand at their mean. An entry goes
            over the constant: a constant cannot tell apart entries of the same meaning, such as those around usual
            replicas.
        constants: all other set-points, as of `supervisor`, and `decide_every`.

    Raises:
        SpecError: a name that the scenario does not have, a number outside of its bounds, or a feature without a scale.
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
        """Where a tuner begins: base entries, and behind them the gains that are not zero."""
        return np.concatenate([self._base, self._gains[self._gains != 0.0]])

    def tuned_to(self, numbers: Float64Array) -> dict[str, Any]:
        """The parameters that such numbers stand for."""
        gains = self._gains.copy()
        gains[gains != 0.0] = numbers[len(self._base) :]
        return feedback_parameters(self.scenario, self._numbers, numbers[: len(self._base)], gains, self._scale)


def feedback_parameters(
    scenario: Scenario, numbers: Numbers, base: Float64Array, gains: Float64Array, scale: FeatureScale
) -> dict[str, Any]:
    """Linear feedback as parameters of `LinearFeedback`, which acts by them as by the arrays, to the bit.

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
