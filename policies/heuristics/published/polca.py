"""POLCA: two thresholds of power, two priorities, three clocks."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array


class Polca(Clocking):
    """Steps down at 80 and 89 % of the cap, the pools of low priority first and further.

    P. Patel et al., "Characterizing power management opportunities for LLMs in the cloud", ASPLOS 2024, arXiv
    2308.12908. The structure is [text]: above T1 low priority is capped; above T2 low priority is capped further and
    high priority to a level of its own; each step is undone at a margin below its threshold. The thresholds and clocks
    are as we recall them [mem]; see the paper's section 6. A pool that serves an interactive class is of high priority;
    where all pools are, all take the clocks of low priority. The steps are open loop: two fixed steps may not reach a
    curtailed cap, and then the brake fires. Rows count as the site does; the worse of the two decides.

    Args:
        scenario: of the fleet.
        t1, t2: shares of the cap; 0.80 and 0.89 [mem].
        release: how far below a threshold its step is undone; 0.05 [mem].
        low_1, low_2: clocks of low priority above T1 and T2, 1275 and 1110 of 1410 MHz [mem].
        high_2: clock of high priority above T2, 1305 of 1410 MHz [mem].
    """

    fields = ("power_over_cap", "row_power_over_cap")

    def __init__(
        self,
        scenario: Scenario,
        t1: PositiveFraction = 0.80,
        t2: PositiveFraction = 0.89,
        release: NonNegativeFloat = 0.05,
        low_1: PositiveFraction = 0.904,
        low_2: PositiveFraction = 0.787,
        high_2: PositiveFraction = 0.926,
    ) -> None:
        a = ServiceModel(scenario).power.arrays
        self._site, self._floor = a.site, a.clock_floor_fraction
        self._behind = ServiceModel(scenario).power.is_behind_row
        interactive = np.array([not cls.deferrable for cls in scenario.classes.values()])
        is_high = scenario.route_mask[interactive].any(axis=0) | ~scenario.route_mask.any(axis=0)
        high_1 = np.where(is_high.all(), low_1, 1.0)
        self._clock = np.stack(
            [np.ones(len(is_high)), np.where(is_high, high_1, low_1), np.where(is_high, high_2, low_2)]
        )
        if is_high.all():
            self._clock[2] = low_2
        self._t1, self._t2, self._release = t1, t2, release

    def initial_state(self, num_envs: int) -> State:
        """The level of every pool, `[N, P]`: 0, 1 or 2."""
        return (np.zeros((num_envs, len(self._site))),)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        (level,) = state
        power = view["power_over_cap"][:, self._site].astype(np.float64)
        for w, behind in enumerate(self._behind.T):
            power = np.where(behind, np.maximum(power, view["row_power_over_cap"][:, w : w + 1]), power)
        level = np.where((level == 2.0) & (power < self._t2 - self._release), 1.0, level)
        level = np.where((level == 1.0) & (power < self._t1 - self._release), 0.0, level)
        level = np.where(power > self._t1, np.maximum(level, 1.0), level)
        level = np.where(power > self._t2, 2.0, level)
        clock = np.take_along_axis(self._clock, level.astype(np.int64), axis=0)
        return np.maximum(clock, self._floor), (level,)
