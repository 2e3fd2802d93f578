"""Layer 4, attention: what the tokens of a prompt attend to."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.layers.gpu import Coefficient, Number


def prefill_pairs(chunk_tokens: Number, prior_tokens: Number | float = 0.0) -> Number:
    """(query, key) pairs of a prefill chunk: each of its tokens sees the prior ones, those before it, and itself.

    >>> prefill_pairs(4), prefill_pairs(2, prior_tokens=4)
    (10.0, 11.0)
    """
    return chunk_tokens * prior_tokens + chunk_tokens * (chunk_tokens + 1.0) / 2.0


def window_pairs(window_tokens: Coefficient, chunk_tokens: Number, prior_tokens: Number | float = 0.0) -> Number:
    """(query, key) pairs of a prefill chunk in a layer with a sliding window: each token sees so many at the most.

    >>> [float(window_pairs(window, 2.0, prior_tokens=4.0)) for window in (3, 9)]
    [6.0, 11.0]
    """
    before = np.clip(window_tokens - prior_tokens, 0.0, chunk_tokens)  # tokens that see less than the window holds
    pairs: Number = prefill_pairs(before, prior_tokens) + (chunk_tokens - before) * window_tokens
    return pairs
