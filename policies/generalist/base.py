"""What the generalist moves from: the set-points of `supervisor`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.heuristics.supervisor import hand_made


def supervisor_entries(scenario: Scenario) -> NDArray[np.float64]:
    """What `supervisor` holds in a fleet, as entries of the action `setpoints`, `[A]`."""
    box = SetpointAction(scenario)
    held = box.encode(hand_made(scenario, box.decode(np.zeros((1, *box.space.shape)))))
    entries: NDArray[np.float64] = held[0].astype(np.float64)
    return entries
