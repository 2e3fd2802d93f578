"""Prompts and answers of requests together: quantiles of the one, and of the other in bands of the one."""

from __future__ import annotations

from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.layers.agents.quantiles import Probability, QuantileSpec
from tokenfleet.envs.spec import PositiveFloat, Spec, TokenCount

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
Quantiles = dict[Probability, PositiveFloat]


class JointLengthsSpec(Spec):
    """Token counts of a request by joint quantiles.

    Attributes:
        prompt: probability -> tokens.
        output: probability -> tokens of the answer, once for each of several equally likely bands of the prompt, the
            shortest prompts first. One band makes the two independent.
        max_tokens: longer prompts and answers are cut.
    """

    prompt: Quantiles = Field(min_length=2)
    output: tuple[Quantiles, ...] = Field(min_length=1)
    max_tokens: TokenCount = 131_072

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """Prompts and answers of `count` requests [tokens], at least 1."""
        score, answer = rng.standard_normal((2, count))
        band = np.searchsorted(self._edges, score)
        output = np.empty(count)
        for number, quantiles in enumerate(self._outputs):
            inside = band == number
            output[inside] = quantiles.value(answer[inside])
        return self._tokens(self._prompt.value(score)), self._tokens(output)

    @cached_property
    def means(self) -> tuple[float, float]:
        """Mean prompt and mean answer [tokens], by equally likely scores."""
        normal = NormalDist()
        scores = np.array([normal.inv_cdf((k + 0.5) / 2001) for k in range(2001)])
        outputs = [self._tokens(quantiles.value(scores)).mean() for quantiles in self._outputs]
        return float(self._tokens(self._prompt.value(scores)).mean()), float(np.mean(outputs))

    def _tokens(self, value: FloatArray) -> IntArray:
        return np.clip(np.rint(value), 1, self.max_tokens).astype(np.int32)

    @cached_property
    def _prompt(self) -> QuantileSpec:
        return QuantileSpec(quantiles=self.prompt)

    @cached_property
    def _outputs(self) -> tuple[QuantileSpec, ...]:
        return tuple(QuantileSpec(quantiles=quantiles) for quantiles in self.output)

    @cached_property
    def _edges(self) -> FloatArray:
        """Normal scores of the prompt between two bands, `[bands - 1]`."""
        normal, bands = NormalDist(), len(self.output)
        return np.array([normal.inv_cdf(number / bands) for number in range(1, bands)])
