"""Another future of an episode that is under way: what nobody can know yet is drawn anew.

What has happened stays, and so does what is in flight and what is announced:

- requests that have been made, in flight or ended, with their lengths and clients;
- events that have begun or been announced, prices of the day-ahead market, forecasts;
- replicas that are broken, and when they are repaired;
- the constants of the fleet that chance has decided (`uncertainty`), and the hour on every stream's clock.

All else is drawn as for a new episode of the same split at that hour: requests and sessions to come, sessions under way
in their mean number; events that nobody knows of, and failures; real-time prices, from where they stand; carbon
intensity, temperature and sun, around what is forecast; hidden regimes, from what their indicators have shown. Sessions
end with the calls of theirs that have been made, but for those whose clients are thinking, which can be seen: each goes
on when and how one of the drawn sessions does.

The result is an episode in its own right: a fleet that runs it from its start under the same controls comes to the same
present, to the last bit.
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
from tokenfleet.envs.episode.regimes import DrawnRegimes
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.gpu.failures import FailureTable, draw_failures
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.traces.columns import DEFAULTS, NONE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_FUTURE, _CLIENTS, _FORECASTS, _REGIMES = 3, 4, 5, 9
"""Third number of the seeds of a future, of its clients, of forecasts that nobody was told, and of its regimes."""


@dataclass(frozen=True)
class Future:
    """An episode that agrees with another one up to now.

    Attributes:
        episode: the other future.
        row: where each request of the old episode stands in the new one, `[R]`, in the same order; -1 for nowhere.
    """

    episode: Episode
    row: NDArray[np.int32]


@dataclass(frozen=True)
class Present:
    """How far an episode of R requests has come.

    Attributes:
        tick: the tick that comes next.
        asked: which requests have been made, `[R]`.
        lost: which have come to nothing, `[R]`.
        finished_s: when each ended, NaN where it has not, `[R]`.
        thinking: rows of those that clients are thinking about.
    """

    tick: int
    asked: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    finished_s: FloatArray
    thinking: NDArray[np.int32]


def draw_future(episode: Episode, now: Present, seed: int) -> Future:
    """Draw what nobody can know at present.

    Args:
        episode: as `sample_episode`, or this function, gave it.
        now: how far it has come.
        seed: the same seed gives the same future.

    Raises:
        SpecError: nobody has drawn the episode from a scenario.
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
    series = course.series() | demand_forecast(origin.scenario, requests, [*seeds, DEMAND_FORECASTS])
    outdoor_c = series["outdoor_c"][:-1]
    later: dict[str, NDArray[Any]] = {
        **{name: series[name][:-1] for name in PER_TICK},
        "pue": pue_of(origin.scenario, outdoor_c, origin.pue_factor, regimes),
        "exogenous": exogenous_of({**series, "regime_indicator": regimes.indicators()}),
    }
    contexts = episode.contexts
    return Future(
        replace(
            episode,
            requests=requests,
            failures=_draw_failures(origin, episode.failures, tick, rng),
            contexts=ContextTable(row[contexts.row].astype(np.int64), contexts.replica),
            origin=replace(origin, course=course, regimes=regimes),
            **_spliced(episode, later, tick),
        ),
        row,
    )


def _spliced(episode: Episode, later: Mapping[str, NDArray[Any]], tick: int) -> dict[str, NDArray[Any]]:
    """Series of the episode up to entry `tick`, and the later ones behind it."""
    series = {}
    for name, values in later.items():
        series[name] = np.ascontiguousarray(values)
        series[name][: tick + 1] = getattr(episode, name)[: tick + 1]
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
    if table.group_id.strides == (0,):
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


def _grafts(
    now: Present, old: RequestTable, fresh: RequestTable, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Calls that clients are thinking about, and the sessions under way, by their first calls, that go on with them.

    Both `[G]`: rows of the old and of the fresh table, of the same class each. What is left of either stays alone.
    """
    ended = np.unique(old.session_id[now.lost])
    thinking = now.thinking[~np.isin(old.session_id[now.thinking], ended[ended != NONE])]
    under_way = np.flatnonzero((fresh.predecessors == 0) & np.isfinite(fresh.context_age_s))
    pairs = []
    for k in np.unique(old.class_id[thinking]):
        ours, theirs = thinking[old.class_id[thinking] == k], under_way[fresh.class_id[under_way] == k]
        count = min(len(ours), len(theirs))
        pairs.append(np.stack([rng.permutation(ours)[:count], rng.permutation(theirs)[:count]]))
    ours, theirs = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.int64)
    return ours, theirs


def _adopted(old: RequestTable, fresh: RequestTable, grafts: tuple[IntArray, IntArray]) -> RequestTable:
    """The fresh calls, numbered behind the old ones, but for sessions and conversations that go on with old ones."""
    columns: dict[str, Any] = {
        name: np.where(
            getattr(fresh, name) == NONE, NONE, getattr(fresh, name) + getattr(old, name).max(initial=NONE) + 1
        )
        for name in ("session_id", "conversation_id")
    }
    clients: dict[str, Any] = {name: getattr(fresh, name).copy() for name in ("region_id", "price_tolerance")}
    for ours, theirs in zip(*grafts, strict=True):
        for name, column in columns.items():
            mine, given = getattr(old, name)[ours], getattr(fresh, name)
            if mine == NONE or given[theirs] == NONE:
                continue
            of_client = given == given[theirs]
            column[of_client] = mine
            if name == "session_id":
                for of, values in clients.items():
                    values[of_client] = getattr(old, of)[ours]
    return replace(fresh, **{name: column.astype(np.int32) for name, column in columns.items()}, **clients)


def join_requests(
    episode: Episode, now: Present, fresh: RequestTable, span_s: tuple[float, float], rng: np.random.Generator
) -> tuple[RequestTable, NDArray[np.int32]]:
    """The requests that have been made and those to come in one table, and where the old ones stand in it.

    A call that a client is thinking of becomes the first one of a session under way, and is made when that comes;
    where there are too few of those, it is made beyond the horizon. The contexts that caches held at the start are
    those of calls; where such a call has not been made, it stays and never comes, or waits for one that never does.

    Args:
        episode: says what was asked for.
        now: what has been.
        fresh: what is asked for from now on.
        span_s: the time now, and at the end of the episode [s].
        rng: decides who goes on as whom.
    """
    old, (now_s, end_s) = episode.requests, span_s
    grafts = _grafts(now, old, fresh, rng)
    fresh = _adopted(old, fresh, grafts)
    made, held, grafted = now.asked.copy(), np.zeros(len(old), np.bool_), np.zeros(len(fresh), np.bool_)
    made[now.thinking] = True
    held[episode.contexts.row] = True
    held &= ~made
    grafted[grafts[1]] = True
    waits, fresh_waits = old.predecessors > 0, fresh.predecessors > 0
    kept = [np.flatnonzero(~waits & made), np.flatnonzero(~waits & held), np.flatnonzero(waits & (made | held))]
    new = [np.flatnonzero(~fresh_waits & ~grafted), np.flatnonzero(fresh_waits)]
    never = int((waits & held).any())  # a call for which those wait that never come
    first = np.cumsum([0, len(kept[0]), len(new[0]), len(kept[1]), never, len(kept[2]), len(new[1])])
    row, fresh_row = np.full(len(old), -1, np.int64), np.empty(len(fresh), np.int64)
    for rows, place in zip(kept, (0, 2, 4), strict=True):
        row[rows] = first[place] + np.arange(len(rows))
    for rows, place in zip(new, (1, 5), strict=True):
        fresh_row[rows] = first[place] + np.arange(len(rows))
    source = np.concatenate([kept[0], len(old) + new[0], kept[1], [-1] * never, kept[2], len(old) + new[1]])
    source = source.astype(np.int64)
    fresh_row[grafts[1]] = row[grafts[0]]
    source[row[grafts[0]]] = len(old) + grafts[1]
    old = replace(old, reusable_tokens=_shared_tokens(old, now.asked | held))
    columns = _columns(old, fresh, source)
    columns["arrival_s"][first[2] : first[4]] = end_s
    columns["arrival_s"][first[4] :] = np.inf
    edges = [row[_edges(old, made)], fresh_row[_edges(fresh, np.ones(len(fresh), np.bool_))]]
    if len(now.thinking):
        columns["wait_s"][row[now.thinking]] = end_s
        columns["wait_s"][row[grafts[0]]] = _waits_s(old, now.finished_s, grafts[0], fresh.arrival_s[grafts[1]], now_s)
        columns["predecessors"][row[now.thinking]] = old.predecessors[now.thinking]
    if never:
        ghosts = row[np.flatnonzero(waits & held)]
        columns["predecessors"][ghosts] = 1
        edges.append(np.stack([np.full(len(ghosts), first[3]), ghosts], axis=1))
    return RequestTable.of(edges=np.concatenate(edges), **columns), row.astype(np.int32)


def _shared_tokens(table: RequestTable, stays: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Reusable tokens, `[R]`, where a conversation is left with the calls that stay.

    A call shares with an earlier one what it shares with each call between them, so it answers for those that go.

    >>> columns = {"conversation_id": [0, 1, 0, 0], "reusable_tokens": [0, 1, 5, 9]}
    >>> table = RequestTable.of([0.0, 1.0, 2.0, 3.0], [9] * 4, [1] * 4, **columns)
    >>> _shared_tokens(table, np.array([True, False, False, True])).tolist()
    [0, 1, 5, 5]
    """
    tokens, conversation = table.reusable_tokens, table.conversation_id
    if tokens.strides == (0,) or conversation.strides == (0,) or not stays.any():
        return tokens
    order = np.argsort(conversation, kind="stable")
    stays = stays[order]
    staying = order[stays]
    next_one = staying[np.minimum(np.cumsum(stays) - stays, len(staying) - 1)]  # that stays, or the call itself
    between = (conversation[order] != NONE) & (conversation[order] == conversation[next_one]) & (order <= next_one)
    shared = tokens.copy()
    np.minimum.at(shared, next_one[between], tokens[order[between]])
    return shared


def _waits_s(
    table: RequestTable, finished_s: FloatArray, rows: IntArray, arrival_s: FloatArray, now_s: float
) -> FloatArray:
    """How long after the last answer that they wait for calls are made, to come at `arrival_s`, not before now."""
    answered_s = np.zeros(len(table))
    np.fmax.at(answered_s, table.successor, np.repeat(finished_s, np.diff(table.successor_start)))
    wait_s = arrival_s - answered_s[rows]
    while (early := answered_s[rows] + wait_s < now_s).any():  # by rounding
        wait_s[early] = np.nextafter(wait_s[early], np.inf)
    return wait_s


def _columns(old: RequestTable, fresh: RequestTable, source: IntArray) -> dict[str, NDArray[Any]]:
    """Columns of the rows `source` of both tables, one after the other; -1 is a request of one token in and out."""
    columns = {}
    for name in ("arrival_s", "prompt_tokens", "output_tokens", *DEFAULTS):
        ours, theirs = getattr(old, name), getattr(fresh, name)
        is_written = name in ("arrival_s", "predecessors", "wait_s")
        if not is_written and len(ours) and len(theirs) and ours.strides == theirs.strides == (0,):
            continue
        blank = DEFAULTS[name][1] if name in DEFAULTS else 1
        columns[name] = np.concatenate([ours, theirs, np.array([blank], ours.dtype)]).take(source)
    return columns


def _edges(table: RequestTable, wanted: NDArray[np.bool_]) -> IntArray:
    """Pairs (call, call that waits for it) whose second one is wanted, `[E, 2]`."""
    caller = np.repeat(np.arange(len(table)), np.diff(table.successor_start))
    edges = np.stack([caller, table.successor.astype(np.int64)], axis=1)
    return edges[wanted[edges[:, 1]]]
