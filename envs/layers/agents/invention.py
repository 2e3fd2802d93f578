"""Sessions drawn from a fitted description of an agent, in the form of a recorded trace."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents.behaviour import AgentSpec, SubAgentSpec
from tokenfleet.envs.layers.agents.quantiles import correlated
from tokenfleet.envs.spec import MAX_TOKENS
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import SessionTrace
from tokenfleet.envs.traces.deal import deal_by_size

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
_BLOCK_TOKENS = 64
"""The record knows reuse in blocks of 64 tokens; the last, partial one counts as new."""


@dataclass
class _Calls:
    """Calls in the order in which they are invented; all `[R]`."""

    session: IntArray
    conversation: IntArray
    order: FloatArray  # sorts the calls of a session so that whom a call waits for stands before it
    prompt_tokens: IntArray
    output_tokens: IntArray
    reusable_tokens: IntArray
    begins_turn: NDArray[np.bool_]
    group: IntArray
    wait_s: FloatArray


def invent_sessions(spec: AgentSpec, sessions_per_split: int, seed: int) -> SessionTrace:
    """A library of sessions, `sessions_per_split` for each split, dealt so that the splits are alike.

    Args:
        spec: the agent.
        sessions_per_split: how many to draw for each split.
        seed: the same seed gives the same library.
    """
    rng = np.random.default_rng(seed)
    count = sessions_per_split * len(SPLITS)
    main = _main_calls(spec, count, rng)
    edges = np.stack([np.arange(len(main.session) - 1), np.arange(1, len(main.session))], axis=1)
    edges = edges[main.session[edges[:, 0]] == main.session[edges[:, 1]]]
    calls = main
    if spec.sub_agents is not None:
        calls, edges = _with_sub_agents(spec, spec.sub_agents, main, edges, rng)
    trace = _trace(spec, calls, edges, count)
    return replace(trace, split=deal_by_size(trace.amounts, (1,) * len(SPLITS)))


def _main_calls(spec: AgentSpec, count: int, rng: np.random.Generator) -> _Calls:
    length_score = rng.standard_normal(count)
    calls = _whole(spec.calls.value(length_score))
    session = np.repeat(np.arange(count), calls)
    place = np.arange(len(session)) - np.repeat(np.cumsum(calls) - calls, calls)
    group = rng.choice(len(spec.groups), size=count, p=_shares(spec.groups))
    group_tokens = np.array(list(spec.groups))[group]
    kept_tokens = group_tokens + _whole(spec.system_tokens.sample(rng, count))
    prompt_tokens, reusable_tokens = _contexts(spec, length_score, kept_tokens, session, place, rng)
    begins_turn = (rng.random(len(session)) < spec.turn_probability) | (place == 0)
    wait_s = np.where(
        begins_turn,
        spec.think_time_s.sample_in_sessions(rng, session),
        spec.tool_wait_s.sample_in_sessions(rng, session),
    )
    return _Calls(
        session=session,
        conversation=np.zeros(len(session), np.int64),
        order=place.astype(np.float64),
        prompt_tokens=prompt_tokens,
        output_tokens=_whole(spec.output_tokens.sample_in_sessions(rng, session)),
        reusable_tokens=reusable_tokens,
        begins_turn=begins_turn,
        group=group[session],
        wait_s=np.where(place == 0, 0.0, wait_s),
    )


def _contexts(
    spec: AgentSpec,
    length_score: FloatArray,
    kept_tokens: IntArray,
    session: IntArray,
    place: IntArray,
    rng: np.random.Generator,
) -> tuple[IntArray, IntArray]:
    """Prompt and reusable tokens of every call, `[R]`, call by call for all sessions side by side."""
    count = len(kept_tokens)
    first_score = correlated(rng, length_score, spec.calls_to_first_prompt)
    first = np.maximum(_whole(spec.first_prompt_tokens.value(first_score)), kept_tokens + 1)
    limit = np.where(
        rng.random(count) < spec.long_context_fraction, np.inf, spec.context_limit_tokens.sample(rng, count)
    )
    limit = np.where(first > limit, np.inf, limit)
    new = _new_tokens(spec, length_score, session, place, rng)
    rewritten = rng.random(len(session)) < spec.rewrite_probability
    compacted = _whole(spec.compacted_tokens.sample(rng, len(session)))
    prompt, reusable = first[session], np.zeros(len(session), np.int64)
    begins = np.flatnonzero(place == 0)
    length = np.diff(np.append(begins, len(session)))
    for step in range(1, int(length.max(initial=0))):
        alive = np.flatnonzero(length > step)
        row = begins[alive] + step
        before = prompt[row - 1]
        full = before > limit[alive]
        known = before // _BLOCK_TOKENS * _BLOCK_TOKENS
        prompt[row] = np.where(full, np.maximum(compacted[row], kept_tokens[alive] + 1), known + new[row])
        reusable[row] = np.where(full | rewritten[row], np.minimum(kept_tokens[alive], known), known)
    return prompt, reusable


def _new_tokens(
    spec: AgentSpec, length_score: FloatArray, session: IntArray, place: IntArray, rng: np.random.Generator
) -> IntArray:
    """Prompt tokens that each call adds to its conversation, `[R]`."""
    shared = correlated(rng, length_score, spec.calls_to_new_tokens)
    new = spec.new_tokens.sample_in_sessions(rng, session, shared)
    if spec.opening_new_tokens is not None:
        opening = (place > 0) & (place <= spec.opening_calls)
        new[opening] = spec.opening_new_tokens.sample_in_sessions(rng, session[opening], shared)
    return _whole(new)


def _with_sub_agents(
    spec: AgentSpec, agents: SubAgentSpec, main: _Calls, edges: IntArray, rng: np.random.Generator
) -> tuple[_Calls, IntArray]:
    """The main calls, behind them the calls of all sub-agents, and the waits between them."""
    uses = rng.random(int(main.session.max()) + 1) < agents.session_fraction
    launches = np.flatnonzero(uses[main.session] & (rng.random(len(main.session)) < agents.launch_probability))
    width = rng.geometric(1.0 / agents.mean_width, len(launches))
    parent = np.repeat(launches, width)
    length = _whole(agents.calls.sample(rng, len(parent)))
    agent = np.repeat(np.arange(len(parent)), length)
    step = np.arange(len(agent)) - np.repeat(np.cumsum(length) - length, length)
    row = len(main.session) + np.arange(len(agent))
    first, last = row[step == 0], row[step == length[agent] - 1]
    sub = _sub_calls(spec, agents, main.session[parent][agent], main.order[parent][agent], agent, step, rng)
    sub.conversation = _numbered_in_session(main.session[parent])[agent]
    inner = np.stack([row[step > 0] - 1, row[step > 0]], axis=1)
    joined = np.flatnonzero(np.append(np.diff(main.session) == 0, False)[parent])
    edges = np.concatenate([
        edges,
        np.stack([parent, first], axis=1),
        inner,
        np.stack([last[joined], parent[joined] + 1], axis=1),
    ])  # fmt: skip
    return _Calls(*(np.concatenate([getattr(main, name), getattr(sub, name)]) for name in vars(main))), edges


def _sub_calls(
    spec: AgentSpec,
    agents: SubAgentSpec,
    session: IntArray,
    order: FloatArray,
    agent: IntArray,
    step: IntArray,
    rng: np.random.Generator,
) -> _Calls:
    first = _whole(agents.first_prompt_tokens.sample(rng, int(agent.max(initial=-1)) + 1))
    first = np.maximum(first, agents.group_tokens + 1)
    new = _whole(agents.new_tokens.sample(rng, len(agent)))
    added = np.cumsum(np.where(step == 0, 0, new))
    prompt = first[agent] + added - added[np.flatnonzero(step == 0)][agent] if len(agent) else new
    return _Calls(
        session=session,
        conversation=agent,
        order=order + 0.5 + step * 1e-4,
        prompt_tokens=prompt,
        output_tokens=_whole(agents.output_tokens.sample(rng, len(agent))),
        reusable_tokens=np.where(step == 0, 0, prompt - new),
        begins_turn=np.zeros(len(agent), np.bool_),
        group=np.full(len(agent), len(spec.groups), np.int64),
        wait_s=agents.wait_s.sample(rng, len(agent)),
    )


def _trace(spec: AgentSpec, calls: _Calls, edges: IntArray, count: int) -> SessionTrace:
    """Calls by session and time."""
    service_s = spec.service_fixed_s + spec.service_per_output_token_s * calls.output_tokens.astype(np.float64)
    by_order = np.lexsort((calls.order, calls.session))
    draft = _arranged(spec, calls, edges, count, service_s, by_order)
    by_time = by_order[np.lexsort((draft.recorded_s, draft.session))]
    return _arranged(spec, calls, edges, count, service_s, by_time)


def _arranged(
    spec: AgentSpec, calls: _Calls, edges: IntArray, count: int, service_s: FloatArray, order: IntArray
) -> SessionTrace:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    caller, waiter = place[edges].T
    by_waiter = np.argsort(waiter, kind="stable")
    group_tokens = [*spec.groups, *([spec.sub_agents.group_tokens] if spec.sub_agents else [])]
    return SessionTrace(
        split=np.zeros(count, np.int8),
        start_s=np.zeros(count),
        first_call=np.searchsorted(calls.session[order], np.arange(count + 1)),
        prompt_tokens=_counted(calls.prompt_tokens[order]),
        output_tokens=_counted(calls.output_tokens[order]),
        reusable_tokens=_counted(calls.reusable_tokens[order]),
        conversation=calls.conversation[order].astype(np.int32),
        begins_turn=calls.begins_turn[order].astype(np.int8),
        group=calls.group[order].astype(np.int32),
        group_tokens=np.array(group_tokens, np.int32),
        wait_s=calls.wait_s[order],
        service_s=service_s[order],
        caller=caller[by_waiter],
        waiter=waiter[by_waiter],
    )


def _counted(tokens: IntArray) -> NDArray[np.int32]:
    """At most `MAX_TOKENS`, where a context that nothing compacts has grown beyond."""
    return np.minimum(tokens, MAX_TOKENS).astype(np.int32)


def _whole(values: FloatArray) -> IntArray:
    """Rounded, 1 to `MAX_TOKENS`."""
    return np.clip(np.rint(values), 1, MAX_TOKENS).astype(np.int64)


def _shares(groups: dict[int, float]) -> FloatArray:
    weights = np.array(list(groups.values()))
    shares: FloatArray = weights / weights.sum()
    return shares


def _numbered_in_session(session: IntArray) -> IntArray:
    """1, 2, ... for the sub-agents of each session; `session` does not fall.

    >>> _numbered_in_session(np.array([4, 4, 7])).tolist()
    [1, 2, 1]
    """
    return np.arange(len(session)) - np.searchsorted(session, session) + 1
