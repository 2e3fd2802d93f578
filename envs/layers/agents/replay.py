"""Cut recorded sessions to an episode: the calls still to come, and the calls that they wait for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents.streams import Demand
from tokenfleet.envs.traces import SessionTrace

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Copies(NamedTuple):
    """Sessions of a trace placed in an episode, `[M]` each; one session may be there many times."""

    first_row: IntArray  # the call that each begins with; those before it have been made already
    last_row: IntArray  # one behind the last call of each
    at_s: FloatArray  # when that call arrives, seconds from the start of the episode, in [0, horizon)

    def and_also(self, others: Copies) -> Copies:
        """These copies and, behind them, others of the same trace."""
        return Copies(
            np.concatenate([self.first_row, others.first_row]),
            np.concatenate([self.last_row, others.last_row]),
            np.concatenate([self.at_s, others.at_s]),
        )


def replay(trace: SessionTrace, copies: Copies, horizon_s: float, max_context_tokens: int) -> Demand:
    """Demand of the copies: their first calls arrive by themselves, all others when those that they wait for are done.

    A call that was under way at the start of the episode counts as done: its context is there, and its successor
    arrives at its recorded time. Calls that cannot arrive before `horizon_s`, however fast the answers, are left out.

    Args:
        trace: the recorded sessions.
        copies: which calls begin, and when.
        horizon_s: length of the episode [s].
        max_context_tokens: prompt and output of a call are together at most this long; a longer prompt loses reusable
            tokens first, as if the agent had dropped the oldest part of its context and kept what is new.
    """
    row, copy = _ranges(copies.first_row, copies.last_row)
    edges, shift_s = _edges_between(trace, copies, row, copy), copies.at_s - trace.recorded_s[copies.first_row]
    arrival_s = _arrivals(trace, row, copy, edges, shift_s)
    kept = _reachable(trace, row, copy, arrival_s, shift_s, edges, horizon_s)
    place = np.cumsum(kept) - 1
    edges = place[edges[kept[edges].all(axis=1)]]
    demand = _demand(trace, row[kept], copy[kept], arrival_s[kept], edges, max_context_tokens)
    demand.columns["context_age_s"] = _context_age_s(trace, copies, row[kept], copy[kept], shift_s)
    return demand


def _edges_between(trace: SessionTrace, copies: Copies, row: IntArray, copy: IntArray) -> IntArray:
    """Edges `[E, 2]` among the rows, as places in `row`."""
    edge, owner = _ranges(*np.searchsorted(trace.waiter, [copies.first_row, copies.last_row]))
    known = trace.caller[edge] >= copies.first_row[owner]
    edge, owner = edge[known], owner[known]
    offset = np.searchsorted(copy, np.arange(len(copies.at_s))) - copies.first_row
    return np.stack([trace.caller[edge] + offset[owner], trace.waiter[edge] + offset[owner]], axis=1)


def _arrivals(trace: SessionTrace, row: IntArray, copy: IntArray, edges: IntArray, shift_s: FloatArray) -> FloatArray:
    """The recorded time of calls that wait for nobody, inf for others, `[L]` [s]."""
    waits = np.zeros(len(row), np.bool_)
    waits[edges[:, 1]] = True
    return np.where(waits, np.inf, trace.recorded_s[row] + shift_s[copy])


def _reachable(
    trace: SessionTrace,
    row: IntArray,
    copy: IntArray,
    arrival_s: FloatArray,
    shift_s: FloatArray,
    edges: IntArray,
    horizon_s: float,
) -> NDArray[np.bool_]:
    """Calls that can arrive within the horizon, `[L]`.

    If every answer came at once, a call would be made `earliest_s` after its session's start. The recorded services
    before the calls that begin delay it, by at least the smallest sum of such services.
    """
    root = np.flatnonzero(np.isfinite(arrival_s))
    head_start_s = np.full(len(shift_s), np.inf)
    np.minimum.at(head_start_s, copy[root], (trace.recorded_s - trace.earliest_s)[row[root]])
    kept: NDArray[np.bool_] = (shift_s + head_start_s)[copy] + trace.earliest_s[row] < horizon_s
    kept[root] &= arrival_s[root] < horizon_s
    while (orphan := kept[edges[:, 1]] & ~kept[edges[:, 0]]).any():
        kept[edges[orphan, 1]] = False
    return kept


def _demand(
    trace: SessionTrace, row: IntArray, copy: IntArray, arrival_s: FloatArray, edges: IntArray, max_context_tokens: int
) -> Demand:
    output_tokens = np.minimum(trace.output_tokens[row], max_context_tokens - 1)
    prompt_tokens = np.minimum(trace.prompt_tokens[row], max_context_tokens - output_tokens)
    lost = trace.prompt_tokens[row] - prompt_tokens
    reusable = np.maximum(trace.reusable_tokens[row] - lost, 0)
    grouped = trace.group[row] >= 0
    group_tokens = np.where(grouped, trace.group_tokens[trace.group[row]], 0)
    conversation = copy * (int(trace.conversation.max(initial=0)) + 1) + trace.conversation[row]
    return Demand(
        arrival_s,
        prompt_tokens,
        output_tokens,
        columns={
            "conversation_id": _counted(conversation),
            "reusable_tokens": np.minimum(reusable, prompt_tokens).astype(np.int32),
            "group_id": trace.group[row],
            "group_tokens": np.minimum(group_tokens, prompt_tokens).astype(np.int32),
            "session_id": copy.astype(np.int32),
            "wait_s": np.where(np.isfinite(arrival_s), 0.0, trace.wait_s[row]),
        },
        edges=edges,
    )


def _context_age_s(
    trace: SessionTrace, copies: Copies, row: IntArray, copy: IntArray, shift_s: FloatArray
) -> FloatArray:
    """Time from the end of each call's predecessor in its conversation to the episode's start, `[L]` [s].

    It is inf where the predecessor is in the episode, and where there is none.
    """
    previous = trace.previous_call[row]
    ended_s = (trace.recorded_s + trace.service_s)[previous] + shift_s[copy]
    came_before = (previous >= 0) & (previous < copies.first_row[copy])
    return np.where(came_before, np.maximum(-ended_s, 0.0), np.inf)


def _counted(number: IntArray) -> NDArray[np.int32]:
    """The same grouping with numbers 0, 1, 2, ... without gaps.

    >>> _counted(np.array([7, 2, 7, 4])).tolist()
    [2, 0, 2, 1]
    """
    present = np.zeros(int(number.max(initial=-1)) + 1, np.int32)
    present[number] = 1
    return (np.cumsum(present, dtype=np.int32) - 1)[number]


def _ranges(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """The ranges `first[i], ..., last[i] - 1`, one after the other, and the `i` of each entry.

    >>> _ranges(np.array([5, 0]), np.array([7, 3]))
    (array([5, 6, 0, 1, 2]), array([0, 0, 1, 1, 1]))
    """
    length = last - first
    owner = np.repeat(np.arange(len(first)), length)
    return np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length) + first[owner], owner
