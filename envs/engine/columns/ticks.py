"""Counts: how large they may be, and spans of time in whole ticks."""

from __future__ import annotations

import math

MANY = 2**31
"""Sums of such counts, and products with a request's tokens, fit 64 bits."""
MANY_TOKENS = 2**40
"""KV cache of a replica; sums of such counts fit 64 bits."""


def whole_ticks(span_s: float, tick_s: float) -> int:
    """The ticks that `span_s` reaches into; a hair past a whole number, as 0.3 / 0.1 gives, is that number.

    >>> [whole_ticks(span_s, 0.1) for span_s in (0.0, 0.05, 0.3, 0.31)]
    [0, 1, 3, 4]
    """
    return math.ceil(span_s / tick_s - 1e-9)
