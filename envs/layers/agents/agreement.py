"""Service agreements: credit for a class with too few requests in time."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, PositiveFraction, Spec

MAX_TIERS = 3


class CreditTierSpec(Spec):
    """A step of the credit.

    Attributes:
        below_share: the step applies where the share of requests in time is below this.
        credit_fraction: share of the window's charges that the step gives back.
    """

    below_share: PositiveFraction
    credit_fraction: PositiveFraction


class AgreementSpec(Spec):
    """A promise of the share of requests in time, window by window, and the credit where it is broken.

    Windows lie end to end from the start of the episode; the end of the episode closes the last one. A request counts
    in the window in which it ends: in time, late, refused or expired. Credits are steps, as model providers have them:
    10 % of the charges below 99.9 % of a month, 25 % below 99 % and all of them below 95 % (Amazon Bedrock Service
    Level Agreement, 4 October 2023). A provider's month is an episode's window.

    The charges of a window are the price of all requests that ended in it, answered or not, at their quoted factors: a
    class refused outright owes as much as a class served late, as under a subscription.

    Attributes:
        window_s: length of a window, in whole ticks rounded up [s].
        ttft_s: limit on the time to first token of a request in time; without it, the class's whole SLO counts [s].
        tiers: steps of the credit, one to three; the highest that applies is given.
    """

    window_s: PositiveFloat = 60.0
    ttft_s: PositiveFloat | None = None
    tiers: tuple[CreditTierSpec, ...] = Field(min_length=1, max_length=MAX_TIERS)

    @model_validator(mode="after")
    def _credits_grow_as_service_falls(self) -> Self:
        for before, after in zip(self.tiers, self.tiers[1:], strict=False):
            if not (after.below_share < before.below_share and after.credit_fraction > before.credit_fraction):
                raise ValueError(
                    "tiers: each must have a lower below_share and a higher credit_fraction than the one before "
                    f"(got {after.below_share:g} and {after.credit_fraction:g} after {before.below_share:g} and "
                    f"{before.credit_fraction:g})"
                )
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """`below_share` of `MAX_TIERS` steps, 0 for the steps that are not used."""
        return (*(tier.below_share for tier in self.tiers), *[0.0] * (MAX_TIERS - len(self.tiers)))

    @property
    def credits(self) -> tuple[float, ...]:
        """`credit_fraction` of `MAX_TIERS` steps, 0 for the steps that are not used."""
        return (*(tier.credit_fraction for tier in self.tiers), *[0.0] * (MAX_TIERS - len(self.tiers)))
