"""Convert recorded coding-agent sessions to the catalogue's form: `python -m calibration.extract.sessions FOLDER`.

FOLDER holds `sessions_rle.jsonl.gz` (a session a line, block names run-length encoded), made from the repository that
`catalog/trace/coding-agents.yaml` names. What is taken from the record, and what is derived:

- A session's calls form one conversation; each sub-agent's calls form one of their own.
- A sub-agent's first call waits for the main call before it; the main call after it waits for all sub-agents' last
  calls, unless they were launched in the background (`async_launched`).
- `reusable_tokens`: 64 times the leading blocks that a prompt has in common with the prompt of the conversation's
  previous call. The previous answer may be reusable too; the record cannot tell, so this is a lower bound.
- `group`: calls whose prompts begin with as many tokens of tool definitions. Block names are local to a trace, so equal
  lengths stand for equal text. System prompts (about 2,700 tokens more) hold a user's own paths and are left out.
- `wait_s`: the recorded think time, which after a tool's result is the tool's own time.
- `begins_turn`: a person speaks (see `_begins_turn`).
- `service_s`: the recorded time of the call; 7 % have none and get that of a line through the others, by output length.
- Split: clusters of near-duplicates stay together (the record's own rule), and are dealt so that the splits have alike
  calls, tokens and durations (`tokenfleet.envs.traces.deal`). The record's own split is not ours: its parts differ by a
  tenth.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces.deal import deal_clusters
from tokenfleet.envs.traces.sessions import SessionTrace, count_reusable, write_sessions

BLOCK_TOKENS = 64
EPISODE_S = 1200.0
"""Of the shipped scenario with these sessions; what they bring to such an episode is shared alike too."""
Record = dict[str, Any]
Call = dict[str, Any]


def read_records(folder: Path) -> list[Record]:
    """The published sessions."""
    with gzip.open(folder / "sessions_rle.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def convert(records: list[Record]) -> SessionTrace:
    """Sessions of the record as columns."""
    line = _service_line(records)
    sessions = [session_calls(record, line) for record in records]
    groups = sorted({call["tool_tokens"] for calls in sessions for call in calls if call["tool_tokens"]})
    first = np.cumsum([0, *[len(calls) for calls in sessions]])
    calls = [call for session in sessions for call in session]
    edges = [
        (first[number] + caller, first[number] + row)
        for number, session in enumerate(sessions)
        for row, call in enumerate(session)
        for caller in call["waits_for"]
    ]
    group_of = {None: -1, **{tokens: index for index, tokens in enumerate(groups)}}
    trace = SessionTrace(
        split=np.zeros(len(records), np.int8),
        start_s=np.zeros(len(records)),
        first_call=first.astype(np.int64),
        group=np.array([group_of[call["tool_tokens"]] for call in calls], np.int32),
        group_tokens=np.array(groups, np.int32),
        caller=np.array([edge[0] for edge in edges], np.int64),
        waiter=np.array([edge[1] for edge in edges], np.int64),
        prompt_tokens=np.array([call["prompt_tokens"] for call in calls], np.int32),
        output_tokens=np.array([call["output_tokens"] for call in calls], np.int32),
        reusable_tokens=np.array([call["reusable_tokens"] for call in calls], np.int32),
        conversation=np.array([call["conversation"] for call in calls], np.int32),
        begins_turn=np.array([call["begins_turn"] for call in calls], np.int8),
        wait_s=np.array([call["wait_s"] for call in calls], np.float64),
        service_s=np.array([call["service_s"] for call in calls], np.float64),
    )
    amounts = np.concatenate([trace.amounts, trace.offered(EPISODE_S)], axis=1)
    return replace(trace, split=deal_clusters(amounts, clusters(records)))


def main_calls(record: Record) -> list[Call]:
    """Calls of the session's own conversation."""
    return [call for call in record["requests"] if "requests" not in call]


def sub_agents(record: Record) -> list[Record]:
    """The nested sub-agents."""
    return [call for call in record["requests"] if "requests" in call]


def _service_line(records: list[Record]) -> tuple[float, float]:
    """Service time [s] and its growth per output token, least squares over the calls that have both."""
    timed = [(call["out"], call["api_time"]) for record in records for call in main_calls(record) if "api_time" in call]
    tokens, seconds = np.array(timed).T
    per_token_s, fixed_s = np.polyfit(tokens, seconds, 1)
    return float(fixed_s), float(per_token_s)


def session_calls(record: Record, line: tuple[float, float]) -> list[Call]:
    """A session's calls in the order of their making, each with the rows that it waits for."""
    calls: list[Call] = []
    joined: list[int] = []  # rows that the next main call waits for besides its predecessor
    main = _conversation(main_calls(record), 0, record["tool_tokens"], 0.0, line)
    previous: int | None = None
    number, place = 0, 0
    for entry in record["requests"]:
        if "requests" not in entry:
            call = main[place]
            callers = [] if previous is None else [previous, *joined]
            calls.append({**call, "waits_for": callers, "wait_s": _wait_s(call, [calls[row] for row in callers])})
            previous, joined, place = len(calls) - 1, [], place + 1
            continue
        number += 1
        rows = _append_sub_agent(calls, entry, number, previous, line)
        if entry["status"] != "async_launched":
            joined.append(rows)
    return _in_order(calls)


def _append_sub_agent(
    calls: list[Call], entry: Record, number: int, parent: int | None, line: tuple[float, float]
) -> int:
    """Append a sub-agent's calls; the row of its last one."""
    start_s = entry["t"] - (entry["duration_ms"] or 0) / 1e3  # of a finished one, `t` is its end
    callers = [] if parent is None else [parent]
    for call in _conversation(entry["requests"], number, entry["tool_tokens"], start_s, line):
        calls.append({**call, "waits_for": callers, "wait_s": _wait_s(call, [calls[row] for row in callers])})
        callers = [len(calls) - 1]
    return callers[0]


def _conversation(
    entries: list[Record], number: int, tool_tokens: int, start_s: float, line: tuple[float, float]
) -> list[Call]:
    """Calls of one conversation, with absolute times."""
    blocks = [_expanded(entry["hash_rle"]) for entry in entries]
    common_first, _ = Counter(int(names[0]) for names in blocks).most_common(1)[0]
    base = next(names for names in blocks if names[0] == common_first)
    calls = []
    for place, entry in enumerate(entries):
        reused = count_reusable(blocks[place - 1], blocks[place]) if place else 0
        following_s = entries[place + 1]["t"] - entry["t"] if place + 1 < len(entries) else np.inf
        calls.append({
            "at_s": start_s + entry["t"],
            "prompt_tokens": entry["in"],
            "output_tokens": max(entry["out"], 1),
            "reusable_tokens": BLOCK_TOKENS * reused,
            "conversation": number,
            "begins_turn": number == 0 and _begins_turn(entry, entries[place - 1] if place else None),
            "tool_tokens": tool_tokens if count_reusable(base, blocks[place]) >= tool_tokens // BLOCK_TOKENS else None,
            "service_s": _stored(entry.get("api_time", min(line[0] + line[1] * entry["out"], following_s))),
            "think_s": entry.get("think_time") if place and "api_time" in entries[place - 1] else None,
        })  # fmt: skip
    return calls


def _begins_turn(entry: Record, previous: Record | None) -> bool:
    """Whether a person speaks: behind a finished answer, or in place of a tool.

    Behind an answer that was not recorded to its end, the record calls every input text, so that it cannot tell; these
    calls follow each other at 14 s in the median, as tools do.
    """
    if previous is None or previous["stop"] == "end_turn":
        return True
    return "api_time" in previous and "tool_result" not in entry["input_types"]


def _wait_s(call: Call, callers: list[Call]) -> float:
    """Recorded think time where it is known and the call waited for one other; else from the clock."""
    if len(callers) == 1 and call["think_s"] is not None:
        return _stored(call["think_s"])
    answered_s = max((caller["at_s"] + caller["service_s"] for caller in callers), default=call["at_s"])
    return _stored(max(call["at_s"] - answered_s, 0.0))


def _stored(seconds: float) -> float:
    """Seconds as the archive keeps them, in single precision, so that the order of calls is that of the archive."""
    return float(np.float32(seconds))


def _in_order(calls: list[Call]) -> list[Call]:
    """Calls by the time that their waits and services give; ties keep their order."""
    at_s: list[float] = []
    for call in calls:
        answers = [at_s[row] + calls[row]["service_s"] for row in call["waits_for"]]
        at_s.append(max(answers, default=0.0) + call["wait_s"])
    order = sorted(range(len(calls)), key=lambda row: at_s[row])
    place = {row: index for index, row in enumerate(order)}
    return [{**calls[row], "waits_for": [place[caller] for caller in calls[row]["waits_for"]]} for row in order]


def _expanded(runs: list[list[int]]) -> NDArray[np.int64]:
    """Block names of [first name, length] runs."""
    return np.concatenate([np.arange(first, first + length) for first, length in runs])


def clusters(records: list[Record]) -> NDArray[np.int64]:
    """Number of every session's cluster of near-duplicates, from 0, by the record's own rule."""
    keys = [{(c["in"], c["out"], c.get("api_time")) for c in _all_calls(record)} for record in records]
    owners = defaultdict(list)
    for number, found in enumerate(keys):
        for key in found:
            owners[key].append(number)
    shared = Counter(pair for numbers in owners.values() for pair in combinations(numbers, 2))
    root = list(range(len(records)))
    for (a, b), count in shared.items():
        if count >= 3 or count >= 0.2 * min(len(keys[a]), len(keys[b])):
            low, high = sorted((_root(root, a), _root(root, b)))
            root[high] = low
    found_roots = [_root(root, number) for number in range(len(records))]
    return np.unique(found_roots, return_inverse=True)[1].astype(np.int64)


def _root(root: list[int], number: int) -> int:
    while root[number] != number:
        number = root[number]
    return number


def _all_calls(record: Record) -> list[Record]:
    return main_calls(record) + [call for agent in sub_agents(record) for call in agent["requests"]]


def report(trace: SessionTrace, records: list[Record]) -> str:
    """How far the derived clock is from the recorded one, and what was kept."""
    drift = []
    for number, record in enumerate(records):
        rows = slice(trace.first_call[number], trace.first_call[number + 1])
        derived = trace.recorded_s[rows][trace.conversation[rows] == 0]
        drift += (np.diff(derived) - np.diff([call["t"] for call in main_calls(record)])).tolist()
    share = float(trace.reusable_tokens.sum()) / float(trace.prompt_tokens.sum())
    quantiles = np.quantile(drift, [0.01, 0.5, 0.99]).round(2).tolist()
    sessions = {name: len(trace.sessions_of(name)) for name in SPLITS}
    return (
        f"{sessions} sessions, {len(trace.prompt_tokens)} calls, {len(trace.group_tokens)} groups "
        f"({np.mean(trace.group >= 0):.1%} of calls), {share:.1%} of prompt tokens reusable\n"
        f"gaps between main calls, derived less recorded [s]: 1 %, 50 %, 99 % = {quantiles}"
    )


def main() -> None:
    """Convert, write into the catalogue, report."""
    folder = typed_path(__doc__, "the folder of the record")
    records = read_records(folder)
    trace = convert(records)
    write_sessions(trace, SHIPPED / "trace" / "coding-agents.npz")
    print(report(trace, records))


if __name__ == "__main__":
    main()
