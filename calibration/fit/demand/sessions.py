"""What sessions of agents look like: their main calls, and the statistics that a generator must reproduce."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.traces import SessionTrace

RESET_SHARE = 0.9  # a call that keeps less than this share of the last prompt begins anew
COMPACT_SHARE = 0.6  # and one that is this much shorter was compacted


class Main(NamedTuple):
    """Main calls of a split: rows, the row before each later one, and what became of the context."""

    rows: NDArray[np.int64]
    later: NDArray[np.int64]
    before: NDArray[np.int64]
    compacted: NDArray[np.bool_]
    rewritten: NDArray[np.bool_]


def main_calls(trace: SessionTrace, split: str) -> Main:
    """Calls of the sessions' own conversations."""
    rows = trace.calls_of(split)
    rows = rows[trace.conversation[rows] == 0]
    same = np.diff(trace.session[rows]) == 0
    before, later = rows[:-1][same], rows[1:][same]
    kept = trace.reusable_tokens[later] / trace.prompt_tokens[before]
    shorter = trace.prompt_tokens[later] < COMPACT_SHARE * trace.prompt_tokens[before]
    return Main(rows, later, before, shorter, (kept < RESET_SHARE) & ~shorter)


class Statistics(NamedTuple):
    """What a generator must reproduce."""

    calls_per_session: Array
    prompt_tokens: Array
    new_tokens: Array
    output_tokens: Array
    tool_wait_s: Array
    think_time_s: Array
    reusable_share: float
    busy_share: float
    calls_per_turn: float
    resets_per_call: float


def statistics(trace: SessionTrace, split: str) -> Statistics:
    """Of a split's main calls."""
    main = main_calls(trace, split)
    later = main.later
    turn = trace.begins_turn[later] == 1
    session = trace.session[main.rows]
    busy = np.bincount(session, trace.service_s[main.rows])
    wall = busy + np.bincount(session, trace.wait_s[main.rows])
    return Statistics(
        calls_per_session=np.bincount(session)[np.unique(session)].astype(np.float64),
        prompt_tokens=trace.prompt_tokens[main.rows].astype(np.float64),
        new_tokens=(trace.prompt_tokens - trace.reusable_tokens)[later].astype(np.float64),
        output_tokens=trace.output_tokens[main.rows].astype(np.float64),
        tool_wait_s=trace.wait_s[later[~turn]],
        think_time_s=trace.wait_s[later[turn]],
        reusable_share=float(trace.reusable_tokens[main.rows].sum() / trace.prompt_tokens[main.rows].sum()),
        busy_share=float(np.median(busy[wall > 0] / wall[wall > 0])),
        calls_per_turn=len(main.rows) / float(trace.begins_turn[main.rows].sum()),
        resets_per_call=float((main.compacted | main.rewritten).mean()),
    )


def prefill_overstatement(trace: SessionTrace, rows: NDArray[np.int64]) -> float:
    """How many times as many tokens are prefilled when nothing is reused."""
    prompt, reusable = trace.prompt_tokens[rows].astype(float), trace.reusable_tokens[rows].astype(float)
    return float(prompt.sum() / (prompt - reusable).sum())


def lognormals(trace: SessionTrace, split: str) -> dict[str, tuple[float, float]]:
    """Mean and deviation of the logarithm of each quantity, for those who want two numbers."""
    found = statistics(trace, split)
    logs = {name: np.log(np.maximum(getattr(found, name), 0.5)) for name in Statistics._fields[:6]}
    return {name: (round(float(log.mean()), 3), round(float(log.std()), 3)) for name, log in logs.items()}
