"""What text and pictures both show of a fleet, from its views."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario

FloatArray = NDArray[np.float64]
OK = "ok"


def time_s(scenario: Scenario, views: Record) -> FloatArray:
    """Time since the episode began, `[T]` [s]."""
    elapsed: FloatArray = views["time_fraction"].astype(np.float64) * scenario.horizon_s
    return elapsed


def site_state(views: Record, s: int) -> str:
    """How site `s` stands at the latest tick, in a few words."""
    if views["dark_remaining_s"][-1, s] > 0.0:
        return f"DARK, boots in {views['dark_remaining_s'][-1, s]:.0f} s"
    if views["braked"][-1, s]:
        return "BRAKED"
    over_s = views["brake_timer_s"][-1, s]
    return f"above cap for {over_s:.0f} s" if over_s else OK


def power_unit(highest_w: float) -> tuple[float, str]:
    """The unit in which to write powers up to `highest_w`: its size [W] and its name."""
    return (1e6, "MW") if highest_w >= 1e6 else (1e3, "kW")
