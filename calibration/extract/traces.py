"""Convert public records of demand to the catalogue's forms: `python -m calibration.extract.traces FOLDER`.

FOLDER holds the originals in `mooncake_fast25`, `servegen` and `azure_llm_2024_digitised`; what they are, and from
where, is said in the YAML beside each result.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.traces import ClientTable, SessionTrace, write_clients, write_sessions
from tokenfleet.envs.traces.sessions import count_reusable

BLOCK_TOKENS = 512  # Mooncake's
ASSUMED_TPOT_S = 0.05  # of Mooncake's answers, whose duration is not recorded: 20 tokens/s
PROBABILITIES = (0.01, 0.1, 0.5, 0.9, 0.99)
RATE_STEP_S = 1800.0
Request = dict[str, Any]


def mooncake(lines: list[Request]) -> SessionTrace:
    """Conversations: a request goes on with an earlier one whose full blocks it all repeats.

    The first block is the same in all of them: the service's system prompt, a group of its own. Think time is what is
    left of the time between two requests after an answer at an assumed speed.
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
    """Conversations; a request that two go on with goes on with the first."""
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


def servegen(rates: pd.DataFrame, tokens: pd.DataFrame, model: str) -> ClientTable:
    """Clients of one model; a Gamma's shape is its first parameter, and so is a Weibull's."""
    rates = rates[rates.model == model]
    clients = np.sort(rates.client.unique())
    window_s = float(np.diff(np.sort(rates.window_start_s.unique())).min())
    place = (np.searchsorted(clients, rates.client), (rates.window_start_s / window_s).astype(int))
    windows = int(place[1].max()) + 1
    columns = {name: np.zeros((len(clients), windows), np.float32) for name in ("rate_rps", "shape")}
    columns["rate_rps"][place] = _digits(rates.rate_rps, 4)
    columns["shape"][place] = _digits(rates.param1, 3)
    weibull = np.zeros((len(clients), windows), np.bool_)
    weibull[place] = rates.iat_family == "Weibull"
    return ClientTable(
        window_s=np.array([window_s]),
        weibull=weibull,
        prompt_tokens=_token_quantiles(tokens[tokens.model == model], "input_tokens", clients),
        output_tokens=_token_quantiles(tokens[tokens.model == model], "output_tokens", clients),
        probabilities=np.array(PROBABILITIES),
        **columns,
    )


def _token_quantiles(tokens: pd.DataFrame, field: str, clients: np.ndarray) -> np.ndarray:
    """Quantiles of each client, the median over its windows; below the first decile as far as above the median."""
    of_field = tokens[tokens.field == field]
    known = of_field.groupby("client")[["p10", "p50", "p90", "p99"]].median()
    filled = known.reindex(clients).fillna(known.median())
    lowest = np.maximum(filled.p10 * (filled.p10 / filled.p50) ** 0.8, 1.0)
    return np.column_stack([lowest, filled]).astype(np.float32)


def _digits(values: pd.Series, digits: int) -> np.ndarray:
    """Rounded to significant digits, which compress better."""
    return np.array([float(f"{value:.{digits}g}") for value in values], np.float32)


def rate_profile(points: pd.DataFrame) -> list[float]:
    """Requests per minute in steps of half an hour, from points every 7.2 minutes."""
    step = (points.t_s_from_start // RATE_STEP_S).astype(int)
    return [round(float(mean), 1) for mean in points.groupby(step).rpm_mid.mean()]


def main() -> None:
    """Convert all and write them into the catalogue."""
    source = Path(sys.argv[1])
    with gzip.open(source / "mooncake_fast25" / "conversation_trace.jsonl.gz", "rt") as lines:
        write_sessions(mooncake([json.loads(line) for line in lines]), SHIPPED / "trace" / "mooncake-chat.npz")
    rates = pd.read_csv(source / "servegen" / "client_rates.csv.gz")
    tokens = pd.read_csv(source / "servegen" / "client_token_stats.csv.gz")
    for model in ("m-large", "m-small"):
        write_clients(servegen(rates, tokens, model), SHIPPED / "clients" / f"servegen-{model}.npz")
    points = pd.read_csv(source / "azure_llm_2024_digitised" / "requests_per_minute.csv")
    path = SHIPPED / "rate" / "azure-coding-2024.yaml"
    about = yaml.safe_load(path.read_text())
    about["requests_per_minute"] = rate_profile(points[points.service == "coding"])
    lines_out = yaml.safe_dump(about, sort_keys=False, width=118, default_flow_style=None)
    path.write_text(lines_out, encoding="utf-8")


if __name__ == "__main__":
    main()
