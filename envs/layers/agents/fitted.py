"""Requests drawn from a description that was fitted to a trace (`python -m tokenfleet.envs.demand fit`)."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.layers.agents.cascade import CascadeSpec
from tokenfleet.envs.layers.agents.joint_lengths import JointLengthsSpec
from tokenfleet.envs.layers.agents.streams import Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, Spec

FloatArray = NDArray[np.float64]
HOUR_S, DAY_S, WEEK_S = 3600.0, 86_400.0, 604_800.0
DAY_HOURS, FIRST_WEEKEND_DAY, DAYS = 24, 5, 7
SLOW_S = HOUR_S
"""Swings of this scale and above pass with the hours of the day, faster ones are bursts."""
PROFILE_STEP_S = 600.0


class DemandSpec(Spec):
    """What a service is asked for: how often, when, and for how many tokens, `catalog/demand/<name>.yaml`.

    Attributes:
        rate_rps: mean over the week [requests/s].
        cascade: how the rate swings around its mean at that hour.
        weekday: rate over its mean at the middle of each of 24 hours; level by default.
        weekend: the same of Saturday and Sunday; that of weekdays by default.
        lengths: prompts and answers.
        sources: its record and the command of the fit.
        held_out_errors: how far draws are from a part of the trace that the fit had not seen.
    """

    name: Name
    description: str = ""
    rate_rps: PositiveFloat
    cascade: CascadeSpec = CascadeSpec()
    weekday: tuple[PositiveFloat, ...] = Field(default=(1.0,) * DAY_HOURS, min_length=DAY_HOURS, max_length=DAY_HOURS)
    weekend: tuple[PositiveFloat, ...] | None = Field(default=None, min_length=DAY_HOURS, max_length=DAY_HOURS)
    lengths: JointLengthsSpec
    sources: tuple[str, ...] = ()
    held_out_errors: dict[str, float] = Field(default_factory=dict)

    @property
    def knows_hours(self) -> bool:
        """Whether some hours have more requests than others."""
        return len({*self.weekday, *(self.weekend or ())}) > 1

    @cached_property
    def hour_of_week(self) -> FloatArray:
        """Rate over its mean in the middle of each hour of a week from Monday on, `[168]`."""
        weekend = self.weekday if self.weekend is None else self.weekend
        rate = np.array([self.weekday] * FIRST_WEEKEND_DAY + [weekend] * (DAYS - FIRST_WEEKEND_DAY)).ravel()
        relative: FloatArray = rate / rate.mean()
        return relative

    def hourly(self, clock_s: FloatArray) -> FloatArray:
        """Rate over its mean at times since a Monday's midnight [s], linear between the middles of two hours."""
        hours = len(self.hour_of_week)
        return np.asarray(np.interp(clock_s / HOUR_S - 0.5, np.arange(hours), self.hour_of_week, period=hours))

    def sample_arrivals(
        self, rng: np.random.Generator, horizon_s: float, start_s: float = 0.0, speed: float = 1.0
    ) -> FloatArray:
        """Times of requests in `[0, horizon_s)`, ascending, `[R]` [s].

        Args:
            rng: source of chance.
            horizon_s: length [s].
            start_s: when they begin, since a Monday's midnight [s].
            speed: how fast the hours pass, and the swings that last an hour or more.
        """
        cascade = self.cascade if speed == 1.0 else self.sped_up(speed)
        knots_s, factor = cascade.sample(rng, horizon_s)
        if self.knows_hours:
            # Up to the next step of the profile; times are from the episode's start.
            steps = np.arange(start_s // PROFILE_STEP_S + 1, (start_s + speed * horizon_s) // PROFILE_STEP_S + 1)
            edges_s = (steps * PROFILE_STEP_S - start_s) / speed
            merged_s = np.unique(np.concatenate([knots_s, edges_s[(edges_s > 0.0) & (edges_s < horizon_s)]]))
            factor = factor[np.searchsorted(knots_s, merged_s[:-1], side="right") - 1]
            step = (start_s + speed * 0.5 * (merged_s[1:] + merged_s[:-1])) // PROFILE_STEP_S
            knots_s, factor = merged_s, factor * self.hourly((step + 0.5) * PROFILE_STEP_S)
        length_s = np.diff(knots_s)
        count = rng.poisson(self.rate_rps * factor * length_s)
        arrival_s = np.repeat(knots_s[:-1], count) + np.repeat(length_s, count) * rng.random(int(count.sum()))
        arrival_s.sort()
        return np.minimum(arrival_s, np.nextafter(horizon_s, 0.0))

    def sped_up(self, speed: float) -> CascadeSpec:
        """The cascade where swings of an hour and more pass `speed` times as fast, shorter ones as they do."""
        swings: dict[float, float] = {}
        for scale_s, variance in self.cascade.swings.items():
            passes_s = scale_s / speed if scale_s >= SLOW_S else scale_s
            if passes_s in swings:  # two factors of mean one, whose product is one
                variance = (1.0 + swings[passes_s]) * (1.0 + variance) - 1.0
            swings[passes_s] = variance
        return self.cascade.model_copy(update={"swings": swings})


class FittedStream(StreamSpec):
    """Requests of a fitted description, another week in every episode.

    Their rate is the description's mean at that hour of the week, times a cascade of swings from below a second up to
    days (`CascadeSpec`), all drawn anew. An episode begins anywhere in the week, whatever its split.

    Attributes:
        demand: a catalogue name (`catalog/demand`).
        rate_rps: mean over the week [requests/s]; the description's own by default. Bursts keep their relative size.
        time_compression: how many seconds of the week pass in one second of the episode; swings of an hour and more
            pass as fast, shorter bursts keep their length.
        start_hour: hours since Monday's midnight at which every episode begins; drawn by default.
    """

    kind: Literal["fitted"] = "fitted"
    demand: Name
    rate_rps: PositiveFloat | None = None
    time_compression: PositiveFloat = 1.0
    start_hour: NonNegativeFloat | None = Field(default=None, lt=WEEK_S / HOUR_S)

    @model_validator(mode="after")
    def _demand_is_known(self) -> Self:
        with named_by("demand", "demand"):
            _ = self._description
        return self

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self._description.rate_rps

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return self._description.lengths.means[0]

    @property
    @override
    def mean_output_tokens(self) -> float:
        return self._description.lengths.means[1]

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        start_s = self._start_s(rng)
        arrival_s = self._description.sample_arrivals(rng, horizon_s, start_s, self.time_compression)
        return Demand(arrival_s, *self._description.lengths.sample(rng, len(arrival_s)))

    @override
    def going_on(self, known: np.random.Generator, begin_s: float, horizon_s: float, split: Split) -> FittedStream:
        now_s = self._start_s(known) + begin_s * self.time_compression
        return self.model_copy(update={"start_hour": now_s % WEEK_S / HOUR_S})

    def _start_s(self, rng: np.random.Generator) -> float:
        """Where in the week the episode begins [s]."""
        drawn_s = rng.random() * WEEK_S
        return drawn_s if self.start_hour is None else self.start_hour * HOUR_S

    @cached_property
    def _description(self) -> DemandSpec:
        data = load_entry("demand", self.demand, self.search_paths)
        described = DemandSpec.parse(data, where=f"demand.{self.demand}")
        return described if self.rate_rps is None else described.model_copy(update={"rate_rps": self.rate_rps})
