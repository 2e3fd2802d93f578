"""Request classes: a service level, its price, and what a client does when it is not served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, folders_in_use, load_entry
from tokenfleet.envs.layers.agents.agreement import AgreementSpec
from tokenfleet.envs.spec import (
    Name,
    NonNegativeFloat,
    PositiveFloat,
    ShortCount,
    Spec,
    TokenCount,
    UnitFraction,
)


class SloSpec(Spec):
    """A named service level, `catalog/slo/<name>.yaml`.

    Attributes:
        ttft_s: limit on the time to first token [s].
        tpot_s: limit on the mean time per further output token [s].
        percentile: share of requests [%] that the source asks to be within both.
    """

    name: Name
    description: str = ""
    ttft_s: PositiveFloat
    tpot_s: PositiveFloat
    percentile: PositiveFloat = Field(default=99.0, le=100)
    sources: tuple[str, ...]


class PriceToleranceSpec(Spec):
    """The highest factor on the token price that a client accepts, lognormal.

    A tolerance is drawn for every request of an open loop and once for a session.

    Attributes:
        median: half of the clients accept this factor.
        sigma: standard deviation of its logarithm; no public data, an assumption wherever it stands.
        episode_factor: bounds of a factor on the median, log-uniform, drawn once for all clients of a class in an
            episode: what the market would pay today. Nobody is told; the share of clients that decline tells of it.
    """

    median: PositiveFloat
    sigma: NonNegativeFloat = 0.5
    episode_factor: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)

    @model_validator(mode="after")
    def _factors_are_ordered(self) -> Self:
        low, high = self.episode_factor
        if low > high:
            raise ValueError(f"episode_factor: the lower bound {low:g} is above the upper {high:g}")
        return self

    def draw_factor(self, rng: np.random.Generator) -> float:
        """The factor of one episode; it takes one number of `rng`."""
        low, high = np.log(self.episode_factor)
        return float(np.exp(rng.uniform(low, high)))

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """`count` tolerances, positive, in an episode of factor 1."""
        return self.median * np.exp(self.sigma * rng.standard_normal(count))


class PriceRangeSpec(Spec):
    """How far the policy may move a class's token price, as factors on the list price.

    Attributes:
        low, high: the lowest and the highest factor; the middle of the action is half-way between them.
    """

    low: PositiveFloat = 1.0
    high: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) must not be above high ({self.high:g})")
        return self

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to set."""
        return self.low == self.high


class RequestClassSpec(Spec):
    """A service level and its price.

    Attributes:
        model: name of the model that the class asks for.
        slo: name of a service level of the catalogue (`catalog/slo`), for `ttft_s` and `tpot_s` where they are not
            given here.
        ttft_s, tpot_s: limits on time to first token and mean time per further output token [s]; both hold for
            a request to be within its SLO. MLPerf Inference states them as p99 limits per model.
        deadline_s: limit on the whole request from its arrival [s]; for a class of agents, on one turn.
        patience_s: a request that has waited longer than this for its first iteration leaves the queue [s].
        deferrable: held back on arrival and released at the policy's rate.
        priority: who has a higher one waits in front of the others in every queue of a replica, as under vLLM's
            `--scheduling-policy priority`; who runs is left running. Equal ones wait first come, first served.
        usd_per_million_input_tokens, usd_per_million_output_tokens: list prices.
        cached_input_fraction_of_price: price of a prompt token from the cache, as a share of that of a fresh one.
            Median over open-weight models with such a price: 0.18 (litellm price list).
        late_value_fraction: share of the price that is paid when the SLO is missed; assumption.
        lost_penalty_fraction: credit owed for a refused or expired request, as a share of its price; assumption.
        expected_output_tokens: what the operator's statistics say of an answer's length; the router weighs an
            unfinished request by it.
        max_attempts: how often a client tries in all; 1 is no retry.
        backoff_s, backoff_factor, backoff_jitter: the attempt after the n-th failed one (refused, expired, lost to a
            failure) comes `backoff_s * backoff_factor^(n-1) * (1 + backoff_jitter * (2u - 1))` later [s], with u
            uniform in [0, 1), drawn once for each request. Doubling from about a second with jitter is what the
            clients of model providers do; the values are assumptions.
        session_budget_usd: a session makes no further call once it has paid this much; none by default.
        price_tolerance: how high a price factor clients accept; any by default. A client that is asked for more
            declines, and tries again later if the class retries.
        token_price_factor: what the policy may set the token price to, over the list price; fixed at 1 by default.
        agreement: credit for the class where too few of its requests are in time; nothing by default.
    """

    model: Name
    slo: Name | None = None
    ttft_s: PositiveFloat | None = None
    tpot_s: PositiveFloat | None = None
    deadline_s: PositiveFloat | None = None
    patience_s: PositiveFloat = 60.0
    deferrable: bool = False
    priority: int = Field(default=0, ge=0, lt=2**31, strict=True)
    usd_per_million_input_tokens: NonNegativeFloat
    usd_per_million_output_tokens: NonNegativeFloat
    cached_input_fraction_of_price: UnitFraction = 1.0
    late_value_fraction: UnitFraction = 0.25
    lost_penalty_fraction: NonNegativeFloat = 0.5
    expected_output_tokens: TokenCount = 200
    max_attempts: ShortCount = 1
    backoff_s: NonNegativeFloat = 1.0
    backoff_factor: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    backoff_jitter: UnitFraction = 0.5
    session_budget_usd: PositiveFloat | None = None
    price_tolerance: PriceToleranceSpec | None = None
    token_price_factor: PriceRangeSpec = PriceRangeSpec()
    agreement: AgreementSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_limits_from_the_catalogue(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("slo") is None:
            return data
        level = load_slo(data["slo"], folders_in_use())
        return {"ttft_s": level.ttft_s, "tpot_s": level.tpot_s, **data}


def load_slo(name: str, search_paths: Sequence[PathLike] = ()) -> SloSpec:
    """The service level of a catalogue name, which may stand in a folder of the user.

    >>> load_slo("llama2-70b-interactive").ttft_s
    0.45
    """
    return SloSpec.parse(load_entry("slo", name, search_paths), where=f"slo.{name}")
