"""Another future of an episode that is under way: what nobody can know yet is drawn anew.

The past stays, and so does everything in flight or announced:

- requests that have been made, in flight or ended, with their lengths and clients;
- events that have begun or been announced, prices of the day-ahead market, forecasts;
- replicas that are broken, and when they are repaired;
- the constants of the fleet that chance has decided (`uncertainty`), and the hour on every stream's clock.

All else is drawn as for a new episode of the same split at that hour: requests and sessions to come, unannounced events
and failures. Sessions under way are drawn in their mean number. Real-time prices go on from their present level; carbon
intensity, temperature and sun follow their forecasts, and hidden regimes what their indicators have shown. A session
ends with its calls made so far, unless its client is known to think: such a session continues as one of the drawn
sessions does.

The result is an episode in its own right: a fleet that runs this episode from its start under the same controls comes
to the same present, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.course import PER_TICK, exogenous_of, pue_of
from tokenfleet.envs.episode.demand import (
    DEMAND_FORECASTS,
    busiest_streams,
    demand_forecast,
    draw_under_regimes,
    group_bounds,
    merged_requests,
)
from tokenfleet.envs.episode.episode import Episode, Origin, servers_of
from tokenfleet.envs.episode.joined_requests import Present, join_requests
from tokenfleet.envs.episode.regimes import DrawnRegimes
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.gpu.failures import FailureTable, draw_failures
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.traces.columns import NONE, differs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_FUTURE, _CLIENTS, _FORECASTS, _REGIMES = 3, 4, 5, 9
"""Third number of the seeds of a future, of its clients, of forecasts that nobody was told, and of its regimes."""


@dataclass(frozen=True)
class Future:
    """An episode that agrees with another one up to now.

    Attributes:
        episode: the other future.
        row: row of each request of the old episode in the new one, `[R]`; -1 for a request that is not there.
    """

    episode: Episode
    row: NDArray[np.int32]


def draw_future(episode: Episode, now: Present, seed: int) -> Future:
    """Draw what nobody can know at present.

    Args:
        episode: as `sample_episode`, or this function, gave it.
        now: how far it has come.
        seed: the same seed gives the same future.

    Raises:
        SpecError: the episode was not drawn from a scenario.
    """
    origin, tick = episode.origin, now.tick
    if origin is None:
        raise SpecError(["future: an episode that was not drawn from a scenario has none but its own"])
    seeds = [origin.seed, SPLITS.index(origin.split)]
    rng = np.random.default_rng([*seeds, _FUTURE, seed, tick])
    regimes = origin.regimes.go_on(tick, np.random.default_rng([*seeds, _REGIMES, seed, tick]))
    fresh = _draw_requests(origin, regimes, tick, [*seeds, _CLIENTS, seed, tick], rng)
    requests, row = join_requests(episode, now, fresh, (tick * origin.scenario.tick_s, origin.scenario.horizon_s), rng)
    course = origin.course.go_on(tick, rng, np.random.default_rng([*seeds, _FORECASTS, tick]))
    series = course.series() | demand_forecast(origin.scenario, requests, [*seeds, DEMAND_FORECASTS, seed, tick])
    exogenous = exogenous_of({**series, "regime_indicator": regimes.indicators()})
    per_tick = {name: series[name][:-1] for name in PER_TICK}
    shown = _spliced(episode, {**per_tick, "exogenous": exogenous}, tick + 1)  # entry `tick` has been shown
    pue = pue_of(origin.scenario, shown["outdoor_c"], origin.pue_factor, regimes)
    sensitivity = regimes.clock_sensitivity_factor()
    hidden = _spliced(episode, {"pue": pue, "clock_sensitivity_factor": sensitivity}, tick)
    contexts = episode.contexts
    return Future(
        replace(
            episode,
            requests=requests,
            failures=_draw_failures(origin, episode.failures, tick, rng),
            contexts=ContextTable(row[contexts.row].astype(np.int64), contexts.replica),
            origin=replace(origin, course=course, regimes=regimes),
            **shown,
            **hidden,
        ),
        row,
    )


def _spliced(episode: Episode, later: Mapping[str, NDArray[Any]], entries: int) -> dict[str, NDArray[Any]]:
    """Series whose first entries are the episode's, so many of them, and the others the later ones."""
    series = {}
    for name, values in later.items():
        series[name] = np.ascontiguousarray(values)
        series[name][:entries] = getattr(episode, name)[:entries]
    return series


def _draw_failures(origin: Origin, failures: FailureTable, tick: int, rng: np.random.Generator) -> FailureTable:
    spec, scenario = origin.scenario.failures, origin.scenario
    if spec is None:
        return failures
    # What breaks within the last tick shows in the next one, so nobody knows of it yet.
    since = max(tick - 1, 0)
    fresh = draw_failures(spec, servers_of(scenario), scenario.tick_s, scenario.horizon_ticks - since, rng)
    old, new = failures.tick < tick, fresh.tick + since >= tick
    return FailureTable(
        np.concatenate([failures.tick[old], fresh.tick[new] + since]),
        np.concatenate([failures.replica[old], fresh.replica[new]]),
        np.concatenate([failures.repaired_s[old], fresh.repaired_s[new] + since * scenario.tick_s]),
    )


def _draw_requests(
    origin: Origin, regimes: DrawnRegimes, tick: int, client_seed: list[int], rng: np.random.Generator
) -> RequestTable:
    """What is asked for from now on, with groups numbered as in the episode."""
    scenario, now_s = origin.scenario, tick * origin.scenario.tick_s
    if now_s >= scenario.horizon_s:
        return RequestTable.empty()
    demands = []
    busiest = scenario.derived(busiest_streams)
    for (name, stream), state in zip(busiest.items(), origin.streams.states, strict=True):
        known = np.random.Generator(getattr(np.random, state["bit_generator"])())
        known.bit_generator.state = state
        later = stream.going_on(known, now_s, scenario.horizon_s, origin.split)
        demands.append(draw_under_regimes(name, later, regimes, rng, (now_s, scenario.horizon_s), origin.split))
    table = merged_requests(scenario, demands, client_seed, regimes)
    if not differs(table.group_id, NONE):
        return table
    return replace(table, group_id=_renumbered(table.group_id, group_bounds(demands), origin.streams.group_bounds))


def _renumbered(number: NDArray[np.int32], bounds: tuple[int, ...], wanted: tuple[int, ...]) -> NDArray[np.int32]:
    """Groups of streams that begin at `bounds`, numbered from `wanted` on; those beyond follow behind all of them.

    >>> _renumbered(np.array([0, 1, 2, 3, -1]), (0, 3, 4), (0, 2, 4)).tolist()
    [0, 1, 4, 2, -1]
    """
    names, beyond = [], wanted[-1]
    for stream in range(len(bounds) - 1):
        for group in range(bounds[stream + 1] - bounds[stream]):
            is_old = wanted[stream] + group < wanted[stream + 1]
            names.append(wanted[stream] + group if is_old else beyond)
            beyond += not is_old
    return np.array([*names, NONE], np.int32)[number]
