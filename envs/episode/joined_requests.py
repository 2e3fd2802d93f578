"""The requests of an episode up to now, and those of another future of the same episode, in one table.

The calls of a thinking client go on as a session under way in the future. Of the other calls, those already made stay,
and all later ones go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.episode import Episode
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.traces.columns import DEFAULTS, NONE, differs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Present:
    """How far an episode of R requests has come.

    Attributes:
        tick: the tick that comes next.
        asked: which requests have been made, `[R]`.
        lost: which have come to nothing, `[R]`.
        finished_s: when each ended, NaN where it has not, `[R]`.
        thinking: rows of the requests that clients are thinking about.
    """

    tick: int
    asked: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    finished_s: FloatArray
    thinking: NDArray[np.int32]


def _grafts(
    now: Present, old: RequestTable, fresh: RequestTable, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Calls of thinking clients, and the sessions under way, by their first calls, that go on with them.

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
    """Past and future requests in one table, and the rows of the past ones in it.

    A call that a client is thinking of becomes the first call of a drawn session under way, and comes at the time of
    that call. If there are too few such sessions, the call comes beyond the horizon. The contexts that caches held at
    the start belong to calls. Such a call stays even if it has not been made: it never comes, or waits for a call that
    never comes.

    Args:
        episode: says what was asked for.
        now: what has been.
        fresh: what is asked for from now on.
        span_s: the time now, and at the end of the episode [s].
        rng: pairs thinking clients with sessions.
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
    never = int((waits & held).any())  # a call for the calls that never come to wait for
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
    """Reusable tokens, `[R]`, of conversations with only the calls that stay.

    Two calls share as many tokens as those two neighbours between them that share the fewest; removed calls count too.

    >>> columns = {"conversation_id": [0, 1, 0, 0], "reusable_tokens": [0, 1, 5, 9]}
    >>> table = RequestTable.of([0.0, 1.0, 2.0, 3.0], [9] * 4, [1] * 4, **columns)
    >>> _shared_tokens(table, np.array([True, False, False, True])).tolist()
    [0, 1, 5, 5]
    """
    tokens, conversation = table.reusable_tokens, table.conversation_id
    if tokens.strides == (0,) or not differs(conversation, NONE) or not stays.any():
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
    """Waits after the last answer to each call's predecessors for calls to come at `arrival_s`, not before now."""
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
        blank = DEFAULTS[name][1] if name in DEFAULTS else 1
        is_written = name in ("arrival_s", "predecessors", "wait_s")
        if name in DEFAULTS and not is_written and not (differs(ours, blank) or differs(theirs, blank)):
            continue
        columns[name] = np.concatenate([ours, theirs, np.array([blank], ours.dtype)]).take(source)
    return columns


def _edges(table: RequestTable, wanted: NDArray[np.bool_]) -> IntArray:
    """Pairs (call, waiting call) with a wanted second call, `[E, 2]`."""
    caller = np.repeat(np.arange(len(table)), np.diff(table.successor_start))
    edges = np.stack([caller, table.successor.astype(np.int64)], axis=1)
    return edges[wanted[edges[:, 1]]]
