"""Conversations out of Mooncake's record, whose requests name the blocks of their prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import text_lines
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.traces import SessionTrace
from tokenfleet.envs.traces.sessions import count_reusable

BLOCK_TOKENS = 512
ASSUMED_TPOT_S = 0.05
"""Time per token of the answers, whose duration is not recorded: 20 tokens/s."""
KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
Request = dict[str, Any]


def read_requests(path: Path) -> list[Request]:
    """The lines of a record.

    Raises:
        SpecError: the file cannot be read, or a line is no request; the message names it.
    """
    found = []
    for number, text in enumerate(text_lines(path), start=1):
        if text.strip():
            found.append(_request(f"{path}:{number}", text))
    if not found:
        raise SpecError([f"{path}:1: the trace is empty: it has no request"])
    return found


def _request(place: str, text: str) -> Request:
    try:
        request = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError([f"{place}: not valid JSON: {error}"]) from None
    if not isinstance(request, dict):
        raise SpecError([f"{place}: must be an object (got {type(request).__name__})"])
    for key in KEYS:
        if key not in request:
            raise SpecError([f"{place}: key {key!r} is missing{suggest(key, request)}"])
    names = request["hash_ids"]
    numbers = [request[key] for key in KEYS[:3]]
    if not (isinstance(names, list) and _whole(names) and _whole(numbers) and min(numbers[1:]) >= 1):
        raise SpecError([f"{place}: {', '.join(KEYS)} must be whole numbers, lengths of at least 1"])
    return request


def _whole(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def conversations(lines: list[Request]) -> SessionTrace:
    """Conversations: a request continues an earlier one if its prompt repeats all full blocks of that prompt.

    The first block is the same in all requests: the service's system prompt, a group of its own. Think time is the time
    between two requests less that of an answer at an assumed speed.
    """
    owner: dict[int, int] = {}  # name of a block -> last request that held it
    parent, common = [], []
    for number, line in enumerate(lines):
        names = line["hash_ids"]
        shared = next((k for k, name in enumerate(names) if name not in owner), len(names))
        before = owner[names[shared - 1]] if shared > 1 else -1
        goes_on = before >= 0 and shared >= len(lines[before]["hash_ids"]) - 1
        parent.append(before if goes_on else -1)
        common.append(count_reusable(np.array(lines[before]["hash_ids"]), np.array(names)) if goes_on else 0)
        owner.update(dict.fromkeys(names, number))
    return _chained(lines, _chains(parent), common)


def _chains(parent: list[int]) -> list[list[int]]:
    """Conversations; of several requests that continue the same one, only the first does, the others begin anew."""
    chain_of: dict[int, list[int]] = {}
    chains: list[list[int]] = []
    for number, before in enumerate(parent):
        chain = chain_of.get(before, [])
        if not chain or chain[-1] != before:
            chain = []
            chains.append(chain)
        chain.append(number)
        chain_of[number] = chain
    return chains


def _chained(lines: list[Request], chains: list[list[int]], common: list[int]) -> SessionTrace:
    row = np.array([number for chain in chains for number in chain])
    length = np.array([len(chain) for chain in chains])
    first = np.concatenate([[0], np.cumsum(length)])
    begins = np.isin(np.arange(len(row)), first[:-1])
    made_s = np.array([line["timestamp"] for line in lines])[row] / 1e3
    output = np.array([line["output_length"] for line in lines], np.int32)[row]
    service_s = ASSUMED_TPOT_S * output.astype(np.float64)
    gap_s = np.diff(made_s, prepend=0.0)
    wait_s = np.where(begins, 0.0, np.maximum(gap_s - np.append(0.0, service_s[:-1]), 0.0))
    service_s = np.append(np.where(begins[1:], service_s[:-1], np.minimum(service_s[:-1], gap_s[1:])), service_s[-1])
    return SessionTrace(
        split=np.zeros(len(chains), np.int8),
        start_s=made_s[first[:-1]],
        first_call=first.astype(np.int64),
        prompt_tokens=np.array([line["input_length"] for line in lines], np.int32)[row],
        output_tokens=output,
        reusable_tokens=np.where(begins, 0, BLOCK_TOKENS * np.array(common)[row]).astype(np.int32),
        conversation=np.zeros(len(row), np.int32),
        begins_turn=np.ones(len(row), np.int8),
        group=np.where(np.array([line["input_length"] for line in lines])[row] >= BLOCK_TOKENS, 0, -1).astype(np.int32),
        group_tokens=np.array([BLOCK_TOKENS], np.int32),
        wait_s=wait_s,
        service_s=service_s,
        caller=np.flatnonzero(~begins) - 1,
        waiter=np.flatnonzero(~begins),
    )
