"""Plans: set-points of many policies at once, as entries of the action `setpoints`, constant or moved by the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import entry_names
from tokenfleet.envs.supervision.setpoints import Setpoints

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plans:
    """B policies over the A entries of the action `setpoints`.

    Attributes:
        base: entries while every feature stands at its mean, `[B, A]`.
        gains: what each entry gains with one standard deviation of each of F features, `[B, A, F]`; None for constants.
    """

    base: Float64Array
    gains: Float64Array | None = None

    def __len__(self) -> int:
        return len(self.base)

    def part(self, rows: slice) -> Plans:
        """Some of the plans."""
        return Plans(self.base[rows], None if self.gains is None else self.gains[rows])


def stacked(plans: list[Plans]) -> Plans:
    """Plans one behind the other; a constant among plans with feedback gets gains of zero."""
    shape = next((plan.gains.shape[1:] for plan in plans if plan.gains is not None), None)
    base = np.concatenate([plan.base for plan in plans])
    if shape is None:
        return Plans(base)
    gains = [np.zeros((len(plan), *shape)) if plan.gains is None else plan.gains for plan in plans]
    return Plans(base, np.concatenate(gains))


def supervisor_parameters(scenario: Scenario, base: Float64Array) -> dict[str, Any]:
    """Constants `[A]` as parameters of the policy `supervisor`: numbers by name, in physical units."""
    box = SetpointAction(scenario)
    setpoints = box.decode(base[None])
    used = {segment.control for segment in box.table if segment.labels}
    parameters: dict[str, Any] = {}
    for declared in quantities_of(Setpoints):
        row = getattr(setpoints, declared.name)
        if row is None or declared.name not in used:
            continue
        numbers = (float(f"{value:.6g}") for value in row.ravel())
        parameters[declared.name] = dict(zip(entry_names(scenario, declared.axis[1:]), numbers, strict=True))
    return parameters
