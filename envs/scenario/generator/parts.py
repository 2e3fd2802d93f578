"""What each part of a fleet is drawn from: servers, models, request classes, streams, grid connections, regimes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Spec, UnitFraction


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"a span begins with its lower end (got {span[0]:g} before {span[1]:g})")
    return span


Span = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]
"""Lowest and highest value; what is drawn is uniform in between."""
FractionSpan = Annotated[tuple[UnitFraction, UnitFraction], AfterValidator(_ordered)]
Numbers = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
"""Whole numbers, one of which is drawn."""


class ServerSpec(Spec):
    """A kind of server that can run a model.

    Attributes:
        gpu: its board, by name in the catalogue.
        tensor_parallel: boards of a replica.
    """

    gpu: Name
    tensor_parallel: PositiveInt = 1


class OfferSpec(Spec):
    """A model that fleets may serve.

    Attributes:
        usd_per_million_input_tokens, usd_per_million_output_tokens: its usual list prices.
        servers: servers that the model runs on.
    """

    usd_per_million_input_tokens: PositiveFloat
    usd_per_million_output_tokens: PositiveFloat
    servers: tuple[ServerSpec, ...] = Field(min_length=1)


class KindSpec(Spec):
    """A kind of request class; one with a deadline may be held back.

    Attributes:
        list_price_factor: on the model's list prices.
        ttft_s, tpot_s, deadline_s: limits [s]; with a deadline, the other two do not count.
        patience_s: how long clients wait [s]; with a deadline always until the deadline, else by default as in
            `RequestClassSpec`.
        lost_penalty_fraction: see `RequestClassSpec`.
        prompt_tokens, output_tokens: medians.
        arrivals: kinds of streams, one of which is drawn.
        chance_of_price: that clients choose by price, and the price may be moved.
    """

    list_price_factor: PositiveFloat = 1.0
    ttft_s: Span | None = None
    tpot_s: Span | None = None
    deadline_s: Span | None = None
    patience_s: Span | None = None
    lost_penalty_fraction: Span
    prompt_tokens: Span
    output_tokens: Span
    arrivals: tuple[Literal["poisson", "hawkes", "mmpp"], ...] = Field(min_length=1)
    chance_of_price: UnitFraction = 0.0


class BurstSpec(Spec):
    """How streams of the kind `mmpp` burst.

    Attributes:
        burst_factor: rate in a burst over the quiet rate.
        mean_quiet_s, mean_burst_s: how long either lasts [s].
    """

    burst_factor: Span
    mean_quiet_s: Span
    mean_burst_s: Span


class ToleranceSpec(Spec):
    """The highest prices of clients who choose by price.

    Attributes:
        median, sigma: of the law, see `PriceToleranceSpec`.
        episode_factor: on the median, from episode to episode.
        token_price_factor: how far the price may be moved.
    """

    median: Span
    sigma: Span
    episode_factor: Span
    token_price_factor: Span


class MaybeSpec(Spec):
    """A number that a site may have.

    Attributes:
        chance: that it has one.
        span: of the number.
    """

    chance: UnitFraction
    span: Span


class RealTimeSpec(Spec):
    """A market with spikes, in a day that runs faster than the episode.

    Attributes:
        chance: that all sites of a fleet buy there.
        speedup: of the calendar.
        spikes_per_h, spike_usd_per_mwh: see `RealTimePriceSpec`.
        forecast_lead_s: of the forecasts that the policy sees [s].
    """

    chance: UnitFraction
    speedup: PositiveFloat
    spikes_per_h: Span
    spike_usd_per_mwh: Span
    forecast_lead_s: tuple[NonNegativeFloat, ...]


class CallSpec(Spec):
    """A demand-response event that a site may have.

    Attributes:
        chance: that it has one.
        depth_fraction, notice_s, hold_s: see `DemandResponseSpec`.
    """

    chance: UnitFraction
    depth_fraction: FractionSpan
    notice_s: Span
    hold_s: Span


class OutageSpec(Spec):
    """An emergency that a site may have.

    Attributes:
        chance: that it has one.
        probability: that it comes in an episode.
        depth_fraction, hold_s: see `EmergencySpec`.
    """

    chance: UnitFraction
    probability: UnitFraction
    depth_fraction: FractionSpan
    hold_s: Span


class GridRangesSpec(Spec):
    """Grid connections.

    Attributes:
        cap_fraction, price_usd_per_mwh, carbon_g_per_kwh: see `GridSpec`.
        carbon_usd_per_t: a price of carbon.
        real_time, demand_response, emergency: what else there may be.
    """

    cap_fraction: Span
    price_usd_per_mwh: Span
    carbon_g_per_kwh: Span
    carbon_usd_per_t: MaybeSpec
    real_time: RealTimeSpec
    demand_response: CallSpec
    emergency: OutageSpec


class RegimeRangesSpec(Spec):
    """A hidden regime that a fleet may have: quiet and busy times of one stream, with another tolerance of prices.

    Attributes:
        chance: that it has one.
        mean_stay_s: in either state [s].
        quiet_factor, busy_factor: on the stream's rate.
        tolerance_factor: of busy times, on what clients would pay.
        indicator_noise: see `IndicatorSpec`.
    """

    chance: UnitFraction
    mean_stay_s: Span
    quiet_factor: Span
    busy_factor: Span
    tolerance_factor: Span
    indicator_noise: Span
