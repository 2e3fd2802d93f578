"""Distributions of token counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from tokenfleet.envs.layers.agents.streams import Demand, StreamSpec
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveInt, Spec


class TokenLengthSpec(Spec):
    """Lognormal token counts, rounded up and cut at `max_tokens`."""

    median_tokens: PositiveFloat
    sigma: NonNegativeFloat
    max_tokens: PositiveInt = 32_768

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        """`count` lengths [tokens], at least 1."""
        return self._tokens(rng.standard_normal(count))

    @property
    def mean_tokens(self) -> float:
        """Mean of the rounded, cut distribution, by 4,001 equally likely quantiles."""
        from scipy.special import ndtri  # costs 0.1 s to import; only scenarios with synthetic lengths pay it

        return float(self._tokens(ndtri((np.arange(4001) + 0.5) / 4001)).mean())

    def _tokens(self, normal: NDArray[np.float64]) -> NDArray[np.int32]:
        tokens = np.ceil(np.minimum(self.median_tokens * np.exp(self.sigma * normal), self.max_tokens))
        return np.maximum(tokens, 1).astype(np.int32)


class SyntheticLengths(StreamSpec):
    """A stream whose prompts and outputs are drawn apart: the two are uncorrelated in every public trace."""

    prompt: TokenLengthSpec
    output: TokenLengthSpec

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return self.prompt.mean_tokens

    @property
    @override
    def mean_output_tokens(self) -> float:
        return self.output.mean_tokens

    def with_lengths(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> Demand:
        """Demand with these arrivals `[R]`."""
        count = len(arrival_s)
        return Demand(arrival_s, self.prompt.sample(rng, count), self.output.sample(rng, count))
