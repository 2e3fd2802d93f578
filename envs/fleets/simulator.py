"""The questions that a planner may ask of its own fleets."""

from __future__ import annotations

from typing import Any

from tokenfleet.envs.fleets.live import LiveFleets
from tokenfleet.envs.fleets.plans import Plan
from tokenfleet.envs.fleets.what_if import Simulation


class FleetSimulator:
    """The questions that a planner may ask of its own environment: the fate of copies, and nothing else.

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
