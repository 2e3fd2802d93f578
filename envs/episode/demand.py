"""The requests of an episode, from the streams of a scenario, and what is forecast of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents import client_columns, merge
from tokenfleet.envs.layers.agents.streams import Demand
from tokenfleet.envs.layers.power.series import Calendar
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.traces.table import NONE

Float64Array = NDArray[np.float64]
DEMAND_FORECASTS = 6
"""Third number of the seeds from which errors of forecasts of demand are drawn, apart from all else."""


@dataclass(frozen=True)
class DrawnStreams:
    """What must be known of the streams of an episode to let them go on.

    Attributes:
        states: the generator's state before each of them was drawn.
        group_bounds: where the numbers of each one's groups begin in the table, and behind the last where they end.
    """

    states: tuple[Any, ...]
    group_bounds: tuple[int, ...]


def merged_requests(scenario: Scenario, demands: Sequence[Demand], client_seed: Sequence[int]) -> RequestTable:
    """One table of what all streams of a scenario ask for, clients included."""
    names, streams = list(scenario.classes), list(scenario.workload.values())
    clients = client_columns(client_seed, demands, streams, scenario.classes, scenario.region_weights)
    return merge(demands, [names.index(stream.request_class) for stream in streams], **clients)


def group_bounds(demands: Sequence[Demand]) -> tuple[int, ...]:
    """Where `merge` lets the numbers of each demand's groups begin, and behind the last where they end."""
    nobody = np.array([NONE])
    counts = [int(demand.columns.get("group_id", nobody).max(initial=NONE)) + 1 for demand in demands]
    return tuple(np.cumsum([0, *counts]).tolist())


def demand_forecast(scenario: Scenario, requests: RequestTable, seed: Sequence[int]) -> dict[str, Float64Array]:
    """Arrivals that are forecast before every tick and after the last, and their spread, `[H + 1, O, F]` each.

    Args:
        scenario: of the fleet; says how wrong forecasts are.
        requests: that will be made.
        seed: of the errors.
    """
    names, leads_s = scenario.forecast_classes, np.array(scenario.forecast_lead_s)
    shape = (scenario.horizon_ticks + 1, len(names), len(leads_s))
    forecast, spread = np.zeros(shape), np.zeros(shape)
    spec, rng = scenario.forecast.demand, np.random.default_rng(seed)
    calendar = Calendar(start_h=0.0, hours_per_s=scenario.calendar.hours(1.0))
    time_s = scenario.tick_s * np.arange(scenario.horizon_ticks + 1)[:, None] + leads_s
    size = 0.0 if spec is None else spec.error_fraction
    growth = np.array([size * scenario.forecast.growth(calendar.hours_per_s * lead_s) for lead_s in leads_s])
    for k in range(len(names)):
        assert spec is not None
        path = scenario.forecast.draw_error(calendar, scenario.calendar_window_s, rng)
        error = np.exp(growth * path.at(calendar.hour(time_s)) - 0.5 * growth**2)
        forecast[:, k] = _arrival_rate(scenario, requests, k, time_s, spec.window_s) * error
        spread[:, k] = forecast[:, k] * np.sqrt(np.expm1(growth**2))
    return {"demand_forecast_rps": forecast, "demand_spread_rps": spread}


def _arrival_rate(
    scenario: Scenario, requests: RequestTable, k: int, time_s: Float64Array, window_s: float
) -> Float64Array:
    """Arrivals of a class around times of any shape, over the part of a window that lies within the episode."""
    begins = (requests.class_id == k) & (requests.predecessors == 0)
    arrival_s = np.sort(requests.arrival_s[begins])
    first_s = np.clip(time_s - 0.5 * window_s, 0.0, max(scenario.horizon_s - window_s, 0.0))
    last_s = np.minimum(first_s + window_s, scenario.horizon_s)
    count = np.searchsorted(arrival_s, last_s) - np.searchsorted(arrival_s, first_s)
    rate: Float64Array = count / (last_s - first_s)
    return rate
