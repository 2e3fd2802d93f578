"""Fit the description of a coding agent to the recorded sessions: `python -m calibration.agents [--write]`.

Fitted to the training split of `catalog/trace/coding-agents.npz`, compared with the validation split. Quantities are
kept as quantiles: a lognormal misses both ends of every one of them (see `lognormals`).
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from tokenfleet.envs.catalog import load_sessions, read_yaml
from tokenfleet.envs.layers.agents.behaviour import AgentSpec
from tokenfleet.envs.layers.agents.invention import invent_sessions
from tokenfleet.envs.traces import SessionTrace

FILE = Path(__file__).parents[1] / "envs" / "catalog" / "agent" / "coding-agent.yaml"
PROBABILITIES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
OPENING_CALLS = 3  # new tokens fall from 1,466 to 909 after them
COARSE = (0.05, 0.25, 0.5, 0.75, 0.95)
LONG_TOKENS = 200_000  # the usual window of the recorded models; a longer prompt shows a longer window
RESET_SHARE = 0.9  # a call that keeps less than this share of the last prompt begins anew
COMPACT_SHARE = 0.6  # and one that is this much shorter was compacted
FloatArray = NDArray[np.float64]


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


def fit(trace: SessionTrace, split: str) -> dict[str, Any]:
    """Every key of `AgentSpec` but its name, description and sources."""
    main = main_calls(trace, split)
    session, later = trace.session, main.later
    grown = later[~main.compacted & ~main.rewritten]
    opening = grown - trace.first_call[session[grown]] <= OPENING_CALLS
    tool, person = later[trace.begins_turn[later] == 0], later[trace.begins_turn[later] == 1]
    first = main.rows[np.isin(main.rows, trace.first_call[:-1])]
    longest = np.array([trace.prompt_tokens[main.rows[session[main.rows] == s]].max() for s in session[first]])
    counts = np.bincount(session[main.rows])[session[first]]
    usual = trace.prompt_tokens[first] < 0.85 * LONG_TOKENS
    line = np.polyfit(trace.output_tokens[main.rows], trace.service_s[main.rows], 1)
    new = (trace.prompt_tokens - trace.reusable_tokens).astype(np.float64)
    kept = trace.reusable_tokens[later[main.rewritten | main.compacted]]
    return {
        "calls": _quantiles(counts),
        "groups": _groups(trace, first),
        "system_tokens": _quantiles(_system_tokens(trace, later[main.rewritten | main.compacted], kept), COARSE),
        "first_prompt_tokens": _quantiles(trace.prompt_tokens[first]),
        "new_tokens": _quantiles(new[grown[~opening]], session=session[grown[~opening]]),
        "opening_calls": OPENING_CALLS,
        "opening_new_tokens": _quantiles(new[grown[opening]], session=session[grown[opening]]),
        "calls_to_first_prompt": _number(_score_correlation(counts, trace.prompt_tokens[first])),
        "calls_to_new_tokens": _number(_calls_to_new(counts, np.log(new), grown[~opening], session, session[first])),
        "output_tokens": _quantiles(trace.output_tokens[main.rows], session=session[main.rows]),
        "turn_probability": _number(trace.begins_turn[later].mean()),
        "tool_wait_s": _quantiles(np.maximum(trace.wait_s[tool], 0.5), session=session[tool]),
        "think_time_s": _quantiles(np.maximum(trace.wait_s[person], 0.5), session=session[person]),
        "context_limit_tokens": _quantiles(_limits(trace, main), COARSE),
        "long_context_fraction": _number(_long_fraction(trace, main, first[usual], longest[usual])),
        "compacted_tokens": _quantiles(trace.prompt_tokens[later[main.compacted]], COARSE),
        "rewrite_probability": _number(main.rewritten.mean()),
        "service_fixed_s": _number(line[1]),
        "service_per_output_token_s": _number(line[0]),
        "sub_agents": _sub_agents(trace, main),
    }


def _long_fraction(trace: SessionTrace, main: Main, first: NDArray[np.int64], longest: NDArray[np.int32]) -> float:
    """Of the sessions that came to the usual window's end, those that went on instead of compacting."""
    compacted = np.unique(trace.session[main.before[main.compacted]])
    went_on = longest > LONG_TOKENS
    stopped = ~went_on & np.isin(trace.session[first], compacted)
    return float(went_on.sum() / (went_on.sum() + stopped.sum()))


def _limits(trace: SessionTrace, main: Main) -> FloatArray:
    """Prompts that were compacted at the next call, where the window was the usual one."""
    full = trace.prompt_tokens[main.before[main.compacted]]
    return full[(full > LONG_TOKENS / 2) & (full < LONG_TOKENS)].astype(np.float64)


def _system_tokens(trace: SessionTrace, rows: NDArray[np.int64], kept: NDArray[np.int32]) -> FloatArray:
    """What a reset context kept behind the tools."""
    grouped = trace.group[rows] >= 0
    behind = kept[grouped] - trace.group_tokens[trace.group[rows[grouped]]]
    return behind[behind > 0].astype(np.float64)


def _groups(trace: SessionTrace, first: NDArray[np.int64]) -> dict[int, float]:
    """Tools of at least one in a hundred sessions, and their share of these."""
    tokens, count = np.unique(trace.group_tokens[trace.group[first[trace.group[first] >= 0]]], return_counts=True)
    common = count >= 0.01 * count.sum()
    return {int(t): _number(c / count[common].sum()) for t, c in zip(tokens[common], count[common], strict=True)}


def _sub_agents(trace: SessionTrace, main: Main) -> dict[str, Any]:
    """Of all splits: only 12 sessions of 483 have any."""
    rows = np.flatnonzero(trace.conversation > 0)
    key = trace.session[rows] * 1000 + trace.conversation[rows]
    _, place, count = np.unique(key, return_index=True, return_counts=True)
    first, later = rows[place], np.delete(rows, place)
    parent = trace.caller[np.isin(trace.waiter, first)]
    users = np.unique(trace.session[rows])
    calls_of_users = np.isin(trace.session, users) & (trace.conversation == 0)
    return {
        "session_fraction": _number(len(users) / len(trace)),
        "launch_probability": _number(len(np.unique(parent)) / calls_of_users.sum()),
        "mean_width": _number(len(first) / len(np.unique(parent))),
        "group_tokens": int(np.median(trace.group_tokens[trace.group[rows[trace.group[rows] >= 0]]])),
        "calls": _quantiles(count, COARSE),
        "first_prompt_tokens": _quantiles(trace.prompt_tokens[first], COARSE),
        "new_tokens": _quantiles((trace.prompt_tokens - trace.reusable_tokens)[later], COARSE),
        "output_tokens": _quantiles(trace.output_tokens[rows], COARSE),
        "wait_s": _quantiles(np.maximum(trace.wait_s[later], 0.5), COARSE),
    }


def _quantiles(
    values: Any, probabilities: tuple[float, ...] = PROBABILITIES, session: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """A `QuantileSpec`."""
    found = {p: _number(v) for p, v in zip(probabilities, np.quantile(values, probabilities), strict=True)}
    if session is None:
        return {"quantiles": found}
    return {"quantiles": found, "session_correlation": _number(_correlation_in_sessions(np.asarray(values), session))}


def _correlation_in_sessions(values: FloatArray, session: NDArray[np.int64]) -> float:
    """Share of the variance of normal scores that lies between sessions (one-way analysis of variance)."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    normal = NormalDist()
    score = np.array([normal.inv_cdf((r + 0.5) / len(values)) for r in rank])
    _, number, count = np.unique(session, return_inverse=True, return_counts=True)
    mean = np.bincount(number, score) / count
    within = ((score - mean[number]) ** 2).sum() / (len(score) - len(count))
    between = (count * (mean - score.mean()) ** 2).sum() / (len(count) - 1)
    typical = (len(score) - (count**2).sum() / len(score)) / (len(count) - 1)
    variance = max((between - within) / typical, 0.0)
    return float(variance / (variance + within))


def _calls_to_new(
    counts: NDArray[np.int64],
    log_new: FloatArray,
    rows: NDArray[np.int64],
    session: NDArray[np.int64],
    sessions: NDArray[np.int64],
) -> float:
    """Correlation between a session's calls and its mean logarithm of new tokens, where it has at least ten."""
    size = int(sessions.max()) + 1
    total, count = np.bincount(session[rows], log_new[rows], size), np.bincount(session[rows], minlength=size)
    enough = count[sessions] >= 10
    return _score_correlation(counts[enough], (total[sessions] / np.maximum(count[sessions], 1))[enough])


def _score_correlation(a: Any, b: Any) -> float:
    """Correlation of two normal scores, from Spearman's rank correlation."""
    rank_a, rank_b = (np.argsort(np.argsort(values)) for values in (a, b))
    return float(2 * np.sin(np.pi / 6 * np.corrcoef(rank_a, rank_b)[0, 1]))


def _number(value: float) -> float:
    """Four digits; more would claim too much."""
    return float(f"{float(value):.4g}")


class Statistics(NamedTuple):
    """What a generator must reproduce."""

    calls_per_session: FloatArray
    prompt_tokens: FloatArray
    new_tokens: FloatArray
    output_tokens: FloatArray
    tool_wait_s: FloatArray
    think_time_s: FloatArray
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


@cache
def generated() -> SessionTrace:
    """A library of the shipped description, for comparison."""
    return invent_sessions(AgentSpec.parse(read_yaml(FILE)), 1000, seed=1)


def shipped_differences() -> list[str]:
    """One line for each shipped key that is not the fit's."""
    shipped, fitted = read_yaml(FILE), fit(load_sessions("coding-agents"), "train")
    return [f"{key}: shipped {shipped[key]}, fitted {value}" for key, value in fitted.items() if shipped[key] != value]


def report() -> str:
    """Quantiles of the generator beside those of the record."""
    record = load_sessions("coding-agents")
    columns = {
        "train": statistics(record, "train"),
        "validation": statistics(record, "validation"),
        "generator": statistics(generated(), "train"),
    }
    lines = [f"{'':18} {'quantile':>9} " + " ".join(f"{name:>11}" for name in columns)]
    for name in Statistics._fields[:6]:
        for p in (0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
            values = " ".join(f"{np.quantile(getattr(found, name), p):11,.1f}" for found in columns.values())
            lines.append(f"{name:18} {p:9} {values}")
    for name in Statistics._fields[6:]:
        lines.append(f"{name:28} " + " ".join(f"{getattr(found, name):11.4f}" for found in columns.values()))
    lines += [f"lognormal of {name}: {pair}" for name, pair in lognormals(record, "train").items()]
    return "\n".join(lines)


def write() -> None:
    """Write the fitted keys into the catalogue, leaving name, description and sources."""
    kept = {key: value for key, value in read_yaml(FILE).items() if key in ("name", "description", "sources")}
    fitted = {**kept, **fit(load_sessions("coding-agents"), "train")}
    lines = []
    for key, value in fitted.items():
        text = yaml.safe_dump({key: value}, sort_keys=False, width=10_000, default_flow_style=_is_flat(value))
        lines.append(text.removeprefix("{").removesuffix("}\n").rstrip() if _is_flat(value) else text.rstrip())
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and "calls" not in value


def main() -> None:
    """Print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the catalogue")
    if parser.parse_args().write:
        write()
    print(report())


if __name__ == "__main__":
    main()
