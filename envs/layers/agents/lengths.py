"""Distributions of token counts."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny
from typing_extensions import override

from tokenfleet.envs.layers.agents.quantiles import QuantileSpec
from tokenfleet.envs.layers.agents.streams import Demand, StreamSpec
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, Spec, SpecError, TokenCount


class LengthSpec(Spec):
    """Token counts, rounded up.

    Attributes:
        max_tokens: longer ones are cut.
    """

    max_tokens: TokenCount = 32_768

    @abstractmethod
    def value(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lengths before rounding at normal scores, `[R]`."""

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        """`count` lengths [tokens], at least 1."""
        return self._tokens(rng.standard_normal(count))

    @property
    def mean_tokens(self) -> float:
        """Mean of the rounded, cut distribution, by 4,001 equally likely quantiles."""
        from scipy.special import ndtri  # costs 0.1 s to import; only scenarios with synthetic lengths pay it

        return float(self._tokens(ndtri((np.arange(4001) + 0.5) / 4001)).mean())

    def _tokens(self, normal: NDArray[np.float64]) -> NDArray[np.int32]:
        tokens = np.ceil(np.minimum(self.value(normal), self.max_tokens))
        return np.maximum(tokens, 1).astype(np.int32)


class TokenLengthSpec(LengthSpec):
    """Lognormal token counts.

    Attributes:
        median_tokens: half of the counts lie below it.
        sigma: standard deviation of the logarithm.
    """

    median_tokens: PositiveFloat
    sigma: NonNegativeFloat

    def value(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `LengthSpec.value`."""
        return self.median_tokens * np.exp(self.sigma * normal)


class TokenQuantileSpec(LengthSpec):
    """Token counts as measured.

    Attributes:
        quantiles: `{probability: tokens}`, or a whole `QuantileSpec`.
    """

    quantiles: QuantileSpec

    def value(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `LengthSpec.value`."""
        return self.quantiles.value(normal)


def _build_lengths(data: Any) -> Any:
    """Quantiles where they are given, else a lognormal."""
    if isinstance(data, LengthSpec):
        return data
    if not isinstance(data, dict):
        raise SpecError([f"must be a mapping with median_tokens and sigma, or with quantiles (got {data!r})"])
    if "quantiles" in data:
        quantiles = data["quantiles"]
        by_name = isinstance(quantiles, dict) and "quantiles" in quantiles
        return TokenQuantileSpec.parse({**data, "quantiles": quantiles if by_name else {"quantiles": quantiles}})
    return TokenLengthSpec.parse(data)


AnyLengths = Annotated[SerializeAsAny[LengthSpec], BeforeValidator(_build_lengths)]


class SyntheticLengths(StreamSpec):
    """A stream whose prompts and outputs are drawn independently of each other.

    Attributes:
        prompt, output: token counts; `median_tokens` and `sigma` make a lognormal, `quantiles` what was measured.
    """

    prompt: AnyLengths
    output: AnyLengths

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
