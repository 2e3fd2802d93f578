"""Attention that others timed as one call, for a prompt's chunk, decoding sequences, or both."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tokenfleet.envs.fitting.least_squares import factors, slope
from tokenfleet.envs.layers.llm.iteration import prefill_pairs


def with_work(rows: pd.DataFrame, time_s: pd.Series) -> pd.DataFrame:
    """Add the time of all layers, the context of the decoding sequences, and the (query, key) pairs of the chunk."""
    pairs = prefill_pairs(rows.prefill_chunk.to_numpy(float), rows.kv_prefill.to_numpy(float))
    return rows.assign(time_s=time_s, context=rows.n_decode * rows.kv_decode, pairs=pairs)


def fit_decode(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Calls that only decode: seconds whatever they serve, for each sequence, and for each token of context."""
    fixed_s, sequence_s, context_s = factors([np.ones(len(rows)), rows.n_decode, rows.context], rows.time_s)
    return fixed_s, sequence_s, context_s


def fit_pairs(rows: pd.DataFrame) -> float:
    """Calls that only serve a chunk: seconds for each (query, key) pair."""
    return slope(rows.pairs, rows.time_s)


def whole_prompts_s(rows: pd.DataFrame) -> pd.Series:
    """Calls of a chunk without prior tokens: their time by the tokens of the chunk [s]."""
    return rows[rows.kv_prefill == 0].set_index("prefill_chunk").time_s
