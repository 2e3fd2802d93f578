"""Leads of policies in a scenario under a shift: paired differences on test episodes, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.evaluation.robustness.rivals import constants_name, learned_name
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap

AS_TRAINED = "as trained"
"""The scenario without a shift."""


@dataclass(frozen=True)
class Cell:
    """One scenario under one shift.

    Attributes:
        scenario, shift: names.
        learned: mean net value of the learned policy [USD].
        rule: the best rule in these very episodes, which favours the rule.
        ahead: mean paired difference of the learned policy to it [USD].
        ahead_of_constants: likewise to the tuned constants.
        above_cap_s: mean seconds above a cap of the learned policy, and of that rule.
    """

    scenario: str
    shift: str
    learned: Interval
    rule: str
    ahead: Interval
    ahead_of_constants: Interval
    above_cap_s: tuple[float, float]

    @property
    def percent(self) -> float:
        """The lead over the best rule, as a share of what the better of the two earns [%]; at most 100 either way."""
        better = max(abs(self.learned.estimate), abs(self.learned.estimate - self.ahead.estimate), 1e-9)
        return float(np.clip(100.0 * self.ahead.estimate / better, -100.0, 100.0))


def cell(scenario: str, shift: str, measured: Mapping[str, Mapping[str, Any]], rules: Sequence[str]) -> Cell:
    """What a scenario under a shift says.

    Args:
        scenario: its name.
        shift: its name.
        measured: of each policy its net value by episode, and mean seconds above a cap; a rule may have refused.
        rules: names of those that are rules.
    """
    values = {name: np.array(one[VALUE]) for name, one in measured.items() if VALUE in one}
    ours = values[learned_name(scenario)]
    bootstrap = PairedBootstrap(len(ours))
    rule = max((name for name in rules if name in values), key=lambda name: float(values[name].mean()))
    return Cell(
        scenario=scenario,
        shift=shift,
        learned=bootstrap.mean(ours),
        rule=rule,
        ahead=bootstrap.difference(ours, values[rule]),
        ahead_of_constants=bootstrap.difference(ours, values[constants_name(scenario)]),
        above_cap_s=(float(measured[learned_name(scenario)][SECONDS]), float(measured[rule][SECONDS])),
    )


def verdict(ahead: Interval) -> str:
    """A difference in a word.

    >>> verdict(Interval(0.2, 0.1, 0.3)), verdict(Interval(0.2, -0.1, 0.5)), verdict(Interval(-0.2, -0.3, -0.1))
    ('ahead', 'level', 'behind')
    """
    if not ahead.excludes_zero():
        return "level"
    return "ahead" if ahead.low > 0.0 else "behind"
