"""What the episodes of a split offer: requests, tokens, their worth at list prices, and how bursty they come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.episode.demand import busiest_streams, draw_under_regimes
from tokenfleet.envs.episode.episode import regimes_of
from tokenfleet.envs.layers.agents import Split
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.splits import SPLITS

Float64Array = NDArray[np.float64]
QUANTITIES = ("requests", "prompt_tokens", "output_tokens", "value_usd", "fano_factor")
WINDOW_S = 10.0
"""The Fano factor is the variance of counts in such windows over their mean; calls that wait for others don't count."""


def offered(scenario: Scenario, split: Split, episodes: int) -> Float64Array:
    """What episodes offer, `[episodes, QUANTITIES]`: each of the streams' requests, whether or not one is served.

    Streams under hidden regimes offer what these make of them.

    Args:
        scenario: whose streams to draw.
        split: which part of recorded streams to draw from.
        episodes: how many; episode n is drawn from seed n.
    """
    return np.array([_episode(scenario, seed, split) for seed in range(episodes)])


def differences(of_split: Mapping[str, Float64Array]) -> tuple[Float64Array, Float64Array]:
    """How far each split's means are from the mean over splits, relative, and the standard error of that.

    Args:
        of_split: `offered` by split.

    Returns:
        Differences and standard errors, `[splits, QUANTITIES]` each.
    """
    means = np.array([rows.mean(axis=0) for rows in of_split.values()])
    errors = np.array([rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) for rows in of_split.values()])
    overall = means.mean(axis=0)
    return means / overall - 1.0, errors / overall


def _episode(scenario: Scenario, seed: int, split: Split) -> list[float]:
    rng, regimes = np.random.default_rng([seed, SPLITS.index(split)]), regimes_of(scenario, seed, split)
    windows = max(int(scenario.horizon_s // WINDOW_S), 1)
    counts = np.zeros(windows)
    requests = prompts = outputs = 0.0
    value_usd = 0.0
    for name, stream in scenario.derived(busiest_streams).items():
        demand = draw_under_regimes(name, stream, regimes, rng, (0.0, scenario.horizon_s), split)
        prompt, output = float(demand.prompt_tokens.sum()), float(demand.output_tokens.sum())
        price = scenario.classes[stream.request_class]
        value_usd += 1e-6 * (prompt * price.usd_per_million_input_tokens + output * price.usd_per_million_output_tokens)
        requests, prompts, outputs = requests + len(demand), prompts + prompt, outputs + output
        inside = demand.arrival_s[demand.arrival_s < windows * WINDOW_S]
        counts += np.bincount((inside / WINDOW_S).astype(np.int64), minlength=windows)
    return [requests, prompts, outputs, value_usd, counts.var() / max(counts.mean(), 1e-9)]
