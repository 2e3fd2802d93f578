"""Streams of one episode become one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents.streams import Demand
from tokenfleet.envs.traces import RequestTable, arrival_order
from tokenfleet.envs.traces.columns import DEFAULTS, NONE, NUMBERED


def merge(demands: Sequence[Demand], class_ids: Sequence[int], **columns: NDArray[Any]) -> RequestTable:
    """One table of all demands, by arrival; requests that arrive together keep the order of the streams.

    Conversations, groups and sessions of different streams stay different.

    Args:
        demands: of every stream.
        class_ids: request class of every stream.
        **columns: further columns, with one entry for each request, in the order of the demands.
    """
    arrival_s = np.concatenate([demand.arrival_s for demand in demands])
    order = arrival_order(arrival_s)
    given = dict.fromkeys(name for demand in demands for name in demand.columns)
    merged = {name: _column(demands, name) for name in given} | columns
    merged["class_id"] = np.repeat(np.asarray(class_ids, np.int32), [len(demand) for demand in demands])
    edges = _edges(demands, order)
    waits = {"predecessors": np.bincount(edges[:, 1], minlength=len(order)).astype(np.int32)} if len(edges) else {}
    return RequestTable.of(
        arrival_s.take(order),
        np.concatenate([demand.prompt_tokens for demand in demands]).take(order),
        np.concatenate([demand.output_tokens for demand in demands]).take(order),
        edges=edges,
        **waits,
        **{name: column.take(order) for name, column in merged.items()},
    )


def _column(demands: Sequence[Demand], name: str) -> NDArray[Any]:
    """One column of all demands; the default of an independent request where a demand has none."""
    dtype, default = DEFAULTS[name]
    columns = [demand.columns.get(name, np.full(len(demand), default, dtype)) for demand in demands]
    return _renumbered(columns) if name in NUMBERED else np.concatenate(columns)


def _renumbered(columns: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """The columns one after the other, each counting on where the one before it ended.

    >>> _renumbered([np.array([0, NONE, 1]), np.array([NONE, 0])]).tolist()
    [0, -1, 1, -1, 2]
    """
    first = np.cumsum([0, *[int(column.max(initial=NONE)) + 1 for column in columns]])
    return np.concatenate(
        [np.where(column == NONE, NONE, column + first[place]) for place, column in enumerate(columns)]
    ).astype(np.int32)


def _edges(demands: Sequence[Demand], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Edges of all demands between rows of the sorted table, `[E, 2]`."""
    if not any(len(demand.edges) for demand in demands):
        return np.empty((0, 2), np.int64)
    first = np.cumsum([0, *[len(demand) for demand in demands]])
    edges = np.concatenate([demand.edges + start for demand, start in zip(demands, first, strict=False)])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows: NDArray[np.int64] = place.take(edges)
    return rows
