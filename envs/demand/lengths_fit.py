"""Joint quantiles of the prompts and answers of a record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents.joint_lengths import JointLengthsSpec

PROBABILITIES = (0.01, 0.03, 0.06, *(round(0.05 * k, 2) for k in range(2, 19)), 0.94, 0.97, 0.99)
BANDS = ((20_000, 10), (5_000, 8), (1_000, 5), (200, 2), (0, 1))
"""(Least number of requests, bands of the prompt) for the quantiles of the answer."""
Tokens = NDArray[np.int32]


def fit_lengths(prompt_tokens: Tokens, output_tokens: Tokens) -> JointLengthsSpec:
    """Quantiles of the prompt, and of the answer in equally likely bands of the prompt, ties dealt out in turn.

    Args:
        prompt_tokens: `[R]`, at least one.
        output_tokens: `[R]`.
    """
    bands = next(bands for fewest, bands in BANDS if len(prompt_tokens) >= fewest)
    order = np.argsort(prompt_tokens, kind="stable")
    return JointLengthsSpec(
        prompt=_quantiles(prompt_tokens),
        output=tuple(_quantiles(output_tokens[part]) for part in np.array_split(order, bands)),
        max_tokens=int(max(prompt_tokens.max(), output_tokens.max())),
    )


def _quantiles(tokens: Tokens) -> dict[float, float]:
    """Quantiles, with the smallest and the largest value at half a request from either end."""
    end = float(f"{0.5 / len(tokens):.2g}")
    inside = [probability for probability in PROBABILITIES if end < probability < 1.0 - end]
    places = [end, *inside, 1.0 - end] if end < 0.5 else [0.25, 0.75]
    values = np.quantile(tokens, [0.0, *inside, 1.0] if end < 0.5 else [0.0, 1.0])
    return {place: float(f"{value:.6g}") for place, value in zip(places, values.tolist(), strict=True)}
