"""What fleets run under, whatever their number: the live ones of an environment, and copies of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import Engine, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.interface.parts import Parts
from tokenfleet.envs.interface.reward import settle_overdue, weighted_reward
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """The scenario, the parts and the choices of an environment.

    Attributes:
        scenario, arrays: the fleet.
        parts: observation, action and reward.
        reward_weights: weight by name of term, 1 where missing.
        reward_scale: what the weighted sum of the terms is divided by [USD].
        decide_every: ticks for which an action holds.
        last_tick: at which episodes end.
        engine: `native` or `reference`.
        threads: worker threads of an engine.
    """

    scenario: Scenario
    arrays: FleetArrays
    parts: Parts
    reward_weights: Mapping[str, float]
    reward_scale: float
    decide_every: int
    last_tick: int
    engine: str
    threads: int

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        parts: Parts,
        reward_weights: Mapping[str, float],
        reward_scale: float,
        decide_every: int | None,
        max_decisions: int | None,
        engine: str,
        threads: int,
    ) -> Setting:
        """From an environment's arguments: `decide_every` None is the action's own, `max_decisions` None no limit."""
        held: int = getattr(parts.action, "decide_every", 1)
        ticks = held if decide_every is None else decide_every
        horizon = scenario.horizon_ticks
        return cls(
            scenario=scenario,
            arrays=FleetArrays.from_scenario(scenario),
            parts=parts,
            reward_weights=reward_weights,
            reward_scale=reward_scale,
            decide_every=ticks,
            last_tick=horizon if max_decisions is None else min(horizon, max_decisions * ticks),
            engine=engine,
            threads=threads,
        )

    def make_engine(self, num_envs: int) -> Engine:
        """An engine for N fleets."""
        return make_engine(self.engine, self.arrays, num_envs, self.threads)

    def over(self, view: Record, tick: NDArray[np.int64]) -> tuple[BoolArray, BoolArray]:
        """Terminations (every site is dark) and truncations (the horizon or the time limit), `[N]`."""
        dark = np.logical_and.reduce(view["dark_remaining_s"] > 0.0, axis=1)
        return cast(BoolArray, dark), tick >= self.last_tick

    def value(
        self, outcome: Record, tariff: Float64Array, ended: BoolArray
    ) -> tuple[dict[str, Float64Array], Float64Array]:
        """Reward terms and rewards of a tick, `[N]` each.

        Args:
            outcome: what happened; what is overdue is settled in it where an episode ends.
            tariff: price [USD/MWh], then carbon intensity [g/kWh], of the tick, `[N, 2 S]`.
            ended: which episodes end with the tick, `[N]`.
        """
        settle_overdue(outcome, ended)
        terms = self.parts.value(outcome, tariff[:, : len(self.scenario.sites)])
        return terms, weighted_reward(terms, self.reward_weights, self.reward_scale)
