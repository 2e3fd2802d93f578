"""Records of requests with a known process behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.command_line import Outcome
from tokenfleet.envs.layers.agents import DemandSpec
from tokenfleet.envs.traces import Trace, read_trace

LENGTHS = {
    "prompt": {0.01: 20.0, 0.5: 1000.0, 0.99: 8000.0},
    "output": ({0.01: 2.0, 0.5: 50.0, 0.99: 100.0}, {0.01: 100.0, 0.5: 300.0, 0.99: 900.0}),
}
"""Long prompts get long answers."""
ON_AND_OFF = {"spells": {"mean_busy_s": 14.6, "mean_pause_s": 46.3}, "swings": {0.5: 0.58, 512.0: 0.05}}
"""Spells and swings with the Fano factors of an hour of coding: 13, 72, 167 and 243 at 1, 10, 60 and 600 s."""
Do = Callable[[str], Outcome]
"""Runs what was typed behind the command's name."""


def demand(rate_rps: float = 5.0, **keys: object) -> DemandSpec:
    return DemandSpec.parse({"name": "known", "rate_rps": rate_rps, "lengths": LENGTHS, **keys})


def drawn(known: DemandSpec, span_s: float, seed: int = 0, start_s: float = 0.0) -> Trace:
    rng = np.random.default_rng(seed)
    arrival_s = known.sample_arrivals(rng, span_s, start_s)
    return Trace("drawn", arrival_s - arrival_s[0], *known.lengths.sample(rng, len(arrival_s)))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def served(path: Path) -> list[tuple[float, int, int]]:
    """The requests of a trace."""
    trace = read_trace(path)
    columns = (trace.arrival_s, trace.prompt_tokens, trace.output_tokens)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def spearman(x: NDArray[np.int32], y: NDArray[np.int32]) -> float:
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (x, y)]
    return float(np.corrcoef(*ranks)[0, 1])
