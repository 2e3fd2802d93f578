"""Requests as columns of equal length, sorted by arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces.columns import (
    DEFAULTS,
    TYPES,
    FloatColumn,
    IntColumn,
    LongColumn,
    check_columns,
    client_problems,
    graph_problems,
    token_column,
)

_CELLS = {name: np.array(value, dtype).tobytes() for name, (dtype, value) in DEFAULTS.items()}
"""Column -> its neutral value as it stands in memory."""


@dataclass(frozen=True, eq=False)
class RequestTable:
    """What is asked for in an episode, whatever its source; row i is one request (one call of a model).

    Most requests arrive on their own. In a closed loop a call waits for its predecessors: it arrives `wait_s` after
    the last of them has completed, so its own `arrival_s` is infinite. All columns are [R], R the number of requests;
    do not write into them: a column of equal values may be a single number in memory.

    Attributes:
        arrival_s: float64, seconds from the start of the episode, not decreasing; inf for a call that waits.
        prompt_tokens: int32, tokens of the whole prompt, 1 to `MAX_TOKENS`.
        output_tokens: int32, tokens to generate, 1 to `MAX_TOKENS`.
        class_id: int32, index into the scenario's list of classes.
        region_id: int32, index into the scenario's list of regions: where the client is.
        conversation_id: int32, calls that follow each other on one growing context; -1 for none.
        reusable_tokens: int32, leading prompt tokens that equal the conversation's context after its previous call.
        context_age_s: float64, how long before the episode that context was used last, if it was then [s]; else inf.
        group_id: int32, requests whose prompts begin alike (one agent's system prompt and tools); -1 for none.
        group_tokens: int32, length of that common beginning, part of the prompt.
        session_id: int32, calls of one task of one user, which ends when one of them fails for good; -1 for none.
        wait_s: float64, tool or think time between the last predecessor's completion and this call [s].
        predecessors: int32, how many calls must complete before this one is made.
        retry_uniform: float64 in [0, 1], the chance in this request's back-off.
        price_tolerance: float64, highest factor on the token price that its client accepts.
        successor_start: [R + 1] int64, where each request's successors begin in `successor`.
        successor: [E] int32, rows of the calls that wait for it.

    Raises:
        SpecError: a column has the wrong shape, type or order, or the waiting does not add up.

    >>> table = RequestTable.of(arrival_s=[0.0, 1.5], prompt_tokens=[100, 200], output_tokens=[10, 20])
    >>> len(table), table.class_id.tolist()
    (2, [0, 0])
    >>> RequestTable.of([0.0, np.inf], [9, 9], [1, 1], predecessors=[0, 1], edges=[(0, 1)]).successors(0).tolist()
    [1]
    """

    arrival_s: FloatColumn  # [R] s
    prompt_tokens: IntColumn  # [R] tokens
    output_tokens: IntColumn  # [R] tokens
    class_id: IntColumn  # [R] index
    region_id: IntColumn  # [R] index
    conversation_id: IntColumn  # [R] index
    reusable_tokens: IntColumn  # [R] tokens
    context_age_s: FloatColumn  # [R] s
    group_id: IntColumn  # [R] index
    group_tokens: IntColumn  # [R] tokens
    session_id: IntColumn  # [R] index
    wait_s: FloatColumn  # [R] s
    predecessors: IntColumn  # [R] requests
    retry_uniform: FloatColumn  # [R]
    price_tolerance: FloatColumn  # [R]
    successor_start: LongColumn  # [R + 1]
    successor: IntColumn  # [E]

    def __post_init__(self) -> None:
        check_columns(vars(self), TYPES)
        if problems := [*graph_problems(vars(self)), *client_problems(vars(self))]:
            raise SpecError(problems)

    def __len__(self) -> int:
        return int(self.arrival_s.shape[0])

    @classmethod
    def of(
        cls,
        arrival_s: Sequence[float] | FloatColumn,
        prompt_tokens: Sequence[int] | IntColumn,
        output_tokens: Sequence[int] | IntColumn,
        class_id: int | Sequence[int] | IntColumn = 0,
        edges: Sequence[tuple[int, int]] | NDArray[np.integer[Any]] = (),
        **columns: Any,
    ) -> RequestTable:
        """Build from anything array-like, converting types.

        Args:
            arrival_s: see the class.
            prompt_tokens: see the class.
            output_tokens: see the class.
            class_id: one for each request, or a single one for all.
            edges: pairs (call, call that waits for it), in any order.
            **columns: any other column by name, each entry or a single value; `DEFAULTS` where missing.

        Raises:
            SpecError: see the class.
            TypeError: there is no such column.
        """
        arrivals = np.ascontiguousarray(arrival_s, dtype=np.float64)
        given = {"class_id": class_id, **columns}
        values: dict[str, Any] = {
            name: np.broadcast_to(np.asarray(given.pop(name), dtype=dtype), arrivals.shape)
            if name in given
            else np.ndarray(arrivals.shape, dtype, _CELLS[name], strides=(0,))
            for name, (dtype, _) in DEFAULTS.items()
        }
        if given:
            raise TypeError(f"unknown columns {sorted(given)}")
        start, successor = _compressed(np.asarray(edges, dtype=np.int64).reshape(-1, 2), len(arrivals))
        return cls(
            arrival_s=arrivals,
            prompt_tokens=token_column("prompt_tokens", prompt_tokens),
            output_tokens=token_column("output_tokens", output_tokens),
            successor_start=start,
            successor=successor,
            **values,
        )

    @classmethod
    def empty(cls) -> RequestTable:
        """A table of no requests."""
        return cls.of([], [], [])

    @property
    def is_closed_loop(self) -> bool:
        """Whether any call waits for another."""
        return len(self.successor) > 0

    def successors(self, row: int) -> IntColumn:
        """Rows of the calls that wait for a request."""
        return self.successor[self.successor_start[row] : self.successor_start[row + 1]]


def arrival_order(arrival_s: FloatColumn) -> NDArray[np.intp]:
    """Rows in order of arrival, `[R]`; requests that arrive together keep their order.

    A stable sort in two passes: by slot of time, which takes time linear in R, and then what is left inside the slots.
    Arrivals that are not drawn in order are sorted three times as fast as in one pass.

    >>> arrival_order(np.array([3.0, np.inf, 1.0, 3.0])).tolist()
    [2, 0, 3, 1]
    """
    last_s = np.maximum.reduce(arrival_s, initial=1.0)
    if last_s == np.inf:
        last_s = np.maximum.reduce(arrival_s, initial=1.0, where=arrival_s < np.inf)
    slot = np.fmin(arrival_s * (np.iinfo(np.uint16).max / last_s), np.iinfo(np.uint16).max)
    roughly = slot.astype(np.uint16).argsort(kind="stable")
    order: NDArray[np.intp] = roughly.take(arrival_s.take(roughly).argsort(kind="stable"))
    return order


def _compressed(edges: LongColumn, rows: int) -> tuple[LongColumn, IntColumn]:
    """Edges as `successor_start` and `successor`, each request's successors in order of their rows."""
    if not len(edges):
        return np.broadcast_to(np.int64(0), (rows + 1,)), np.empty(0, np.int32)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    count = np.bincount(edges[:, 0], minlength=rows)
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int64), edges[order, 1].astype(np.int32)
