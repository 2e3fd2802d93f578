"""What a serving run's mean hides: most of its iterations only decode, some start a prompt or more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.iterations import chances

PROMPTS = np.arange(12.0)  # that start in one iteration; their mean is below four in every run


def mean_over_prompts(
    of_tokens: Callable[[Array], Array], batch: Array, prompt: Array | float, starting: Array
) -> Array:
    """Mean of a quantity over the iterations of each of R runs, for one that is not linear in an iteration's tokens.

    >>> mean_over_prompts(lambda tokens: tokens, np.array([8.0]), 250.0, np.array([0.1])).round(6).tolist()
    [33.0]

    Args:
        of_tokens: the quantity, of any number of tokens `[R, K]`.
        batch: sequences that decode, `[R]`.
        prompt: tokens of a prompt, one number or `[R]`.
        starting: prompts that start in an iteration on average, `[R]`.
    """
    values = of_tokens(batch[:, None] + PROMPTS * np.asarray(prompt).reshape(-1, 1))
    return np.asarray((chances(PROMPTS, starting) * values).sum(axis=1))
