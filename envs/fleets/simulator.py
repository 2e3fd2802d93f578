"""What a planner may ask of the fleets that it acts in."""

from __future__ import annotations

from typing import Any

from tokenfleet.envs.fleets.live import LiveFleets
from tokenfleet.envs.fleets.plans import Plan
from tokenfleet.envs.fleets.what_if import Simulation


class FleetSimulator:
    """What a planner may ask of the environment that it acts in: what would become of copies, and nothing else.

    Args:
        fleets: the environment.
    """

    def __init__(self, fleets: LiveFleets) -> None:
        self._fleets = fleets

    @property
    def num_envs(self) -> int:
        """How many fleets there are."""
        return self._fleets.num_envs

    @property
    def ended(self) -> tuple[int, ...]:
        """Fleets without a future, as their episodes have ended."""
        return self._fleets.ended

    def simulate(self, plan: Plan, horizon: int, **asked: Any) -> Simulation:
        """See `LiveFleets.simulate`."""
        return self._fleets.simulate(plan, horizon, **asked)
