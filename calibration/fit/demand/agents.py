"""Fit the description of a coding agent to the recorded sessions: `python -m calibration.fit.demand.agents [--write]`.

Fitted to the training split of `catalog/trace/coding-agents.npz`, compared with the validation split. Quantities are
kept as quantiles: a lognormal misses both ends of every one of them (see `sessions.lognormals`).
"""

from __future__ import annotations

import argparse
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from calibration.fit.demand.sessions import Main, Statistics, lognormals, main_calls, statistics
from tokenfleet.envs.catalog import SHIPPED, load_sessions, read_yaml
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.rounding import four_digits
from tokenfleet.envs.layers.agents.behaviour import AgentSpec
from tokenfleet.envs.layers.agents.invention import invent_sessions
from tokenfleet.envs.traces import SessionTrace

FILE = SHIPPED / "agent" / "coding-agent.yaml"
PROBABILITIES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
OPENING_CALLS = 3  # new tokens fall from 1,466 to 909 after them
COARSE = (0.05, 0.25, 0.5, 0.75, 0.95)
LONG_TOKENS = 200_000  # the usual window of the recorded models; a longer prompt shows a longer window


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
        "calls_to_first_prompt": four_digits(_score_correlation(counts, trace.prompt_tokens[first])),
        "calls_to_new_tokens": four_digits(
            _calls_to_new(counts, np.log(new), grown[~opening], session, session[first])
        ),
        "output_tokens": _quantiles(trace.output_tokens[main.rows], session=session[main.rows]),
        "turn_probability": four_digits(trace.begins_turn[later].mean()),
        "tool_wait_s": _quantiles(np.maximum(trace.wait_s[tool], 0.5), session=session[tool]),
        "think_time_s": _quantiles(np.maximum(trace.wait_s[person], 0.5), session=session[person]),
        "context_limit_tokens": _quantiles(_limits(trace, main), COARSE),
        "long_context_fraction": four_digits(_long_fraction(trace, main, first[usual], longest[usual])),
        "compacted_tokens": _quantiles(trace.prompt_tokens[later[main.compacted]], COARSE),
        "rewrite_probability": four_digits(main.rewritten.mean()),
        "service_fixed_s": four_digits(line[1]),
        "service_per_output_token_s": four_digits(line[0]),
        "sub_agents": _sub_agents(trace, main),
    }


def _long_fraction(trace: SessionTrace, main: Main, first: NDArray[np.int64], longest: NDArray[np.int32]) -> float:
    """Of the sessions at the usual window's end, those that went on instead of compacting."""
    compacted = np.unique(trace.session[main.before[main.compacted]])
    went_on = longest > LONG_TOKENS
    stopped = ~went_on & np.isin(trace.session[first], compacted)
    return float(went_on.sum() / (went_on.sum() + stopped.sum()))


def _limits(trace: SessionTrace, main: Main) -> Array:
    """Prompts that were compacted at the next call, where the window was the usual one."""
    full = trace.prompt_tokens[main.before[main.compacted]]
    return full[(full > LONG_TOKENS / 2) & (full < LONG_TOKENS)].astype(np.float64)


def _system_tokens(trace: SessionTrace, rows: NDArray[np.int64], kept: NDArray[np.int32]) -> Array:
    """What a reset context kept behind the tools."""
    grouped = trace.group[rows] >= 0
    behind = kept[grouped] - trace.group_tokens[trace.group[rows[grouped]]]
    return behind[behind > 0].astype(np.float64)


def _groups(trace: SessionTrace, first: NDArray[np.int64]) -> dict[int, float]:
    """Tools of at least one in a hundred sessions, and their share of these."""
    tokens, count = np.unique(trace.group_tokens[trace.group[first[trace.group[first] >= 0]]], return_counts=True)
    common = count >= 0.01 * count.sum()
    return {int(t): four_digits(c / count[common].sum()) for t, c in zip(tokens[common], count[common], strict=True)}


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
        "session_fraction": four_digits(len(users) / len(trace)),
        "launch_probability": four_digits(len(np.unique(parent)) / calls_of_users.sum()),
        "mean_width": four_digits(len(first) / len(np.unique(parent))),
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
    found = {p: four_digits(v) for p, v in zip(probabilities, np.quantile(values, probabilities), strict=True)}
    if session is None:
        return {"quantiles": found}
    return {
        "quantiles": found,
        "session_correlation": four_digits(_correlation_in_sessions(np.asarray(values), session)),
    }


def _correlation_in_sessions(values: Array, session: NDArray[np.int64]) -> float:
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
    log_new: Array,
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
