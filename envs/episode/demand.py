"""The requests of an episode, from the streams of a scenario, and what is forecast of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.regimes import DrawnRegimes
from tokenfleet.envs.layers.agents import Split, StreamSpec, client_columns, draw_demand, merge
from tokenfleet.envs.layers.agents.clients import clients_of
from tokenfleet.envs.layers.agents.streams import Demand
from tokenfleet.envs.layers.power.series import Calendar
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.regimes import busiest_stream, highest_rate_factor
from tokenfleet.envs.spec import MAX_TOKENS, SpecError
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.traces.columns import NONE

Float64Array = NDArray[np.float64]
DEMAND_FORECASTS = 6
"""Third number of the seeds from which errors of forecasts of demand are drawn, apart from all else.

Another future draws errors of its own: with those of the true one, its forecasts and requests would tell the errors.
"""


@dataclass(frozen=True)
class DrawnStreams:
    """How the streams of an episode were drawn, which another future of it needs.

    Attributes:
        states: the generator's state before each of them was drawn.
        group_bounds: first group number of each in the table, and the number behind the last.
    """

    states: tuple[Any, ...]
    group_bounds: tuple[int, ...]


def busiest_streams(scenario: Scenario) -> dict[str, StreamSpec]:
    """Every stream at its highest rate under regimes, by name; read the result from `scenario.derived`."""
    return {name: busiest_stream(scenario.regimes, name, stream) for name, stream in scenario.workload.items()}


def draw_under_regimes(
    name: str,
    stream: StreamSpec,
    regimes: DrawnRegimes,
    rng: np.random.Generator,
    span_s: tuple[float, float],
    split: Split,
) -> Demand:
    """What a stream asks for from one time to another, by times of the episode.

    A stream under regimes is drawn at its highest rate, and thinned to the rate of each tick; a session counts in the
    tick of its first call.

    Args:
        name: of the stream in the scenario.
        stream: its entry of `busiest_streams`, or the stream that goes on in its place.
        regimes: of the episode.
        rng: all chance comes from it.
        span_s: from when to when [s].
        split: which requests to draw from.

    Raises:
        SpecError: a user's stream has sessions, whose lengths have no factor; or a stream has nothing of the split.
        UserCodeError: a user's stream fails.
    """
    scenario = regimes.scenario
    demand = draw_demand(name, stream, rng, span_s[1] - span_s[0], split)
    demand = replace(demand, arrival_s=demand.arrival_s + span_s[0]) if span_s[0] else demand
    if all(name not in state.streams for spec in scenario.regimes.values() for state in spec.states.values()):
        return demand
    tick = _tick_of_client(demand, scenario)
    share = regimes.factor("streams", name, "rate_factor")[tick] / highest_rate_factor(scenario.regimes, name)
    client = clients_of(demand)
    stays = rng.random(int(client.max(initial=-1)) + 1)[client] < share
    factors = {key: regimes.factor("streams", name, f"{key}_factor")[tick] for key in ("prompt", "output")}
    if "session_id" in demand.columns and any((factor != 1.0).any() for factor in factors.values()):
        raise SpecError([f"scenario.regimes: {name}: the calls of sessions have no factors of length"])
    lengths = {
        f"{key}_tokens": _times(getattr(demand, f"{key}_tokens"), factor)[stays] for key, factor in factors.items()
    }
    place = np.cumsum(stays) - 1
    edges = demand.edges[stays[demand.edges[:, 0]]]
    return Demand(
        arrival_s=demand.arrival_s[stays],
        prompt_tokens=lengths["prompt_tokens"],
        output_tokens=lengths["output_tokens"],
        columns={column: values[stays] for column, values in demand.columns.items()},
        edges=place[edges],
    )


def _times(tokens: NDArray[np.int32], factor: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.clip(np.rint(tokens * factor), 1, MAX_TOKENS).astype(np.int32)


def _tick_of_client(demand: Demand, scenario: Scenario) -> NDArray[np.int64]:
    """The tick in which the client of every request comes, `[R]`."""
    client = clients_of(demand)
    first_s = np.full(int(client.max(initial=-1)) + 1, np.inf)
    np.minimum.at(first_s, client, demand.arrival_s)
    tick = np.minimum(first_s[client] / scenario.tick_s, scenario.horizon_ticks - 1.0)
    return tick.astype(np.int64)


def _price_tolerance_factor(scenario: Scenario, demands: Sequence[Demand], regimes: DrawnRegimes) -> Any:
    """What regimes make of the clients' tolerance, one entry for each request of the demands one after the other."""
    pairs = zip(demands, scenario.workload.values(), strict=True)
    return np.concatenate(
        [
            regimes.factor("price_tolerance_factor", stream.request_class)[_tick_of_client(demand, scenario)]
            for demand, stream in pairs
        ]
    )


def merged_requests(
    scenario: Scenario, demands: Sequence[Demand], client_seed: Sequence[int], regimes: DrawnRegimes
) -> RequestTable:
    """One table of what all streams of a scenario ask for, clients included."""
    names, streams = list(scenario.classes), list(scenario.workload.values())
    clients = client_columns(client_seed, demands, streams, scenario.classes, scenario.region_weights)
    if scenario.regimes and "price_tolerance" in clients:
        clients["price_tolerance"] = clients["price_tolerance"] * _price_tolerance_factor(scenario, demands, regimes)
    return merge(demands, [names.index(stream.request_class) for stream in streams], **clients)


def group_bounds(demands: Sequence[Demand]) -> tuple[int, ...]:
    """First group number of each demand after `merge`, and the number behind the last."""
    nobody = np.array([NONE])
    counts = [int(demand.columns.get("group_id", nobody).max(initial=NONE)) + 1 for demand in demands]
    return tuple(np.cumsum([0, *counts]).tolist())


def demand_forecast(scenario: Scenario, requests: RequestTable, seed: Sequence[int]) -> dict[str, Float64Array]:
    """Arrivals that are forecast before every tick and after the last, and their spread, `[H + 1, O, F]` each.

    Args:
        scenario: of the fleet; says how wrong forecasts are.
        requests: requests of the episode.
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
    """Mean arrival rate of a class in a window around times of any shape; the window is moved into the episode."""
    begins = (requests.class_id == k) & (requests.predecessors == 0)
    arrival_s = np.sort(requests.arrival_s[begins])
    first_s = np.clip(time_s - 0.5 * window_s, 0.0, max(scenario.horizon_s - window_s, 0.0))
    last_s = np.minimum(first_s + window_s, scenario.horizon_s)
    count = np.searchsorted(arrival_s, last_s) - np.searchsorted(arrival_s, first_s)
    rate: Float64Array = count / (last_s - first_s)
    return rate
