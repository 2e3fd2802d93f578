"""What fleets are drawn from, as a person writes it: an entry of the catalogue's kind `generator`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry, read_yaml
from tokenfleet.envs.spec import (
    Name,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Spec,
    UnitFraction,
    suggest,
)
from tokenfleet.envs.splits import Split


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
        servers: that it runs on.
    """

    usd_per_million_input_tokens: PositiveFloat
    usd_per_million_output_tokens: PositiveFloat
    servers: tuple[ServerSpec, ...] = Field(min_length=1)


class KindSpec(Spec):
    """A kind of request class; one with a deadline may be held back.

    Attributes:
        list_price_factor: on the model's list prices.
        ttft_s, tpot_s, deadline_s: limits [s].
        patience_s: how long clients wait [s]; by default until the deadline.
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
    """What clients would pay who choose by price.

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


class HeldOutSpec(Spec):
    """What test fleets may have and no other.

    Attributes:
        sites: numbers of sites.
        gpus, models: by name.
    """

    sites: tuple[PositiveInt, ...] = ()
    gpus: tuple[Name, ...] = ()
    models: tuple[Name, ...] = ()


class Ranges(Spec):
    """All that a fleet is drawn from.

    Attributes:
        name: by which it is found; fleets are named after it.
        description: one sentence for people.
        seed: of all draws.
        horizon_ticks: length of an episode; a tick is a second.
        sites, models_of_fleet, replicas: how many there are of each.
        kinds_of_model: how many request classes a model gets.
        second_pool: chance of a second kind of server beside the first.
        load: demand of a model as a share of what its pools could serve at full clocks in a steady state.
        list_price_factor: on the prices of a model.
        held_out: what test fleets may have and no other.
        models: on offer, by name in the catalogue.
        kinds: of request classes, by names that classes begin with.
        bursts, price_tolerance, grid, regime: what else is drawn.
    """

    name: Name
    description: str = ""
    seed: NonNegativeInt
    horizon_ticks: PositiveInt = 600
    sites: Numbers
    models_of_fleet: Numbers
    kinds_of_model: Numbers
    replicas: Numbers
    second_pool: UnitFraction = 0.0
    load: Span
    list_price_factor: Span
    held_out: HeldOutSpec = HeldOutSpec()
    models: dict[Name, OfferSpec] = Field(min_length=1)
    kinds: dict[Name, KindSpec] = Field(min_length=1)
    bursts: BurstSpec
    price_tolerance: ToleranceSpec
    grid: GridRangesSpec
    regime: RegimeRangesSpec

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        held, on_offer = self.held_out, {server.gpu for offer in self.models.values() for server in offer.servers}
        if unknown := [name for name in held.models if name not in self.models]:
            raise ValueError(
                f"held_out.models: {unknown[0]!r} is not among the models{suggest(unknown[0], self.models)}"
            )
        if unknown := [name for name in held.gpus if name not in on_offer]:
            raise ValueError(f"held_out.gpus: no server has {unknown[0]!r}{suggest(unknown[0], on_offer)}")
        if not self.offers("train"):
            raise ValueError("held_out: leaves training without a model; hold out fewer boards or models")
        lots = {"models_of_fleet": len(self.offers("train")), "kinds_of_model": len(self.kinds)}
        for key, most in lots.items():
            if max(getattr(self, key)) > most:
                raise ValueError(f"{key}: at most {most} are on offer in training (got {max(getattr(self, key))})")
        return self

    def sites_of(self, split: Split) -> tuple[int, ...]:
        """Numbers of sites that fleets of a split have."""
        return (*self.sites, *self.held_out.sites) if split == "test" else self.sites

    def offers(self, split: Split) -> dict[str, tuple[ServerSpec, ...]]:
        """The servers on offer in a split by model."""
        held = HeldOutSpec() if split == "test" else self.held_out
        found = {
            name: tuple(server for server in offer.servers if server.gpu not in held.gpus)
            for name, offer in self.models.items()
            if name not in held.models
        }
        return {name: servers for name, servers in found.items() if servers}


def load_ranges(name: str | Path, search_paths: Sequence[PathLike] = ()) -> Ranges:
    """Ranges from a catalogue name or a YAML file.

    Raises:
        SpecError: one line per mistake, naming the key.
    """
    is_file = Path(name).suffix in {".yaml", ".yml"}
    data = read_yaml(Path(name)) if is_file else load_entry("generator", str(name), search_paths)
    return Ranges.parse(data, where="generator")
