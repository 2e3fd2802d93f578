"""Any stream through the hours of a day: more of it at some times than at others."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.layers.agents.streams import AnyStream, Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, Spec, SpecError
from tokenfleet.envs.units import SECONDS_PER_HOUR

FloatArray = NDArray[np.float64]


class RateProfileSpec(Spec):
    """A recorded course of a request rate, `catalog/rate/<name>.yaml`.

    Attributes:
        step_s: time between two values [s].
        start_weekday, start_hour: when the first step begins; Monday is 0.
        requests_per_minute: mean rate in each step.
    """

    name: Name
    description: str = ""
    step_s: PositiveFloat
    start_weekday: int = Field(ge=0, le=6)
    start_hour: NonNegativeFloat = Field(default=0.0, lt=24)
    requests_per_minute: tuple[PositiveFloat, ...] = Field(min_length=2)
    sources: tuple[str, ...]


class DiurnalStream(StreamSpec):
    """A stream whose time runs fast when the recorded rate is high, and slowly when it is low.

    The inner stream is drawn over the stretch's operational time, the integral of the rate over its long-run mean, and
    mapped back: bursts stay bursts, counts follow the rate, and waits inside of sessions stay as they are. An episode
    begins anywhere in the record, whatever its split: a course of rates holds no request.

    Attributes:
        stream: any other stream; its rate becomes the mean over the record.
        profile: a catalogue name (`catalog/rate`).
        time_compression: how many recorded seconds pass in one second of the episode; 144 puts a day into 10 min.
        start_hour: hours after the record's start at which every episode begins; drawn by default.
    """

    kind: Literal["diurnal"] = "diurnal"
    request_class: Name = ""
    stream: AnyStream
    profile: Name = "azure-coding-2024"
    time_compression: PositiveFloat = 1.0
    start_hour: NonNegativeFloat | None = None

    @model_validator(mode="before")
    @classmethod
    def _class_and_region_are_those_of_the_stream(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        inner = data.get("stream")
        known = {key: _value(inner, key) for key in ("request_class", "region") if _value(inner, key) is not None}
        for key, value in known.items():
            if data.get(key, value) != value:
                raise SpecError([f"{key}: must be that of the stream, {value!r} (got {data[key]!r})"])
        return {**data, **known}

    @model_validator(mode="after")
    def _profile_is_known(self) -> Self:
        with named_by("profile", "rate"):
            span_s = self._profile.step_s * len(self._profile.requests_per_minute)
        if self.start_hour is not None and self.start_hour * SECONDS_PER_HOUR >= span_s:
            ends = f"{self.profile!r} ends after {span_s / SECONDS_PER_HOUR:g} hours"
            raise SpecError([f"start_hour: {ends} (got {self.start_hour:g})"])
        return self

    @override
    def under_load(self, factor: float) -> dict[str, Any]:
        """See `StreamSpec.under_load`."""
        inner = self.stream.model_dump(mode="json")
        return {"stream": {**inner, **self.stream.under_load(factor)}}

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.stream.mean_rate_rps

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return self.stream.mean_prompt_tokens

    @property
    @override
    def mean_output_tokens(self) -> float:
        return self.stream.mean_output_tokens

    @property
    @override
    def has_sessions(self) -> bool:
        return self.stream.has_sessions

    def check(self, horizon_s: float) -> None:
        """See `StreamSpec.check`."""
        self.stream.check(horizon_s * float(self._relative_rate.max()))

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        time_s, operational_s = self._clock(self._start_s(rng), horizon_s)
        demand = self.stream.sample(rng, float(operational_s[-1]), split)
        own = np.isfinite(demand.arrival_s)
        arrival_s = demand.arrival_s.copy()
        arrival_s[own] = np.interp(arrival_s[own], operational_s, time_s)
        arrival_s[own] = np.minimum(arrival_s[own], np.nextafter(horizon_s, 0.0))
        return Demand(arrival_s, demand.prompt_tokens, demand.output_tokens, demand.columns, demand.edges)

    @override
    def going_on(self, known: np.random.Generator, begin_s: float, horizon_s: float, split: Split) -> DiurnalStream:
        start_s = self._start_s(known)
        time_s, operational_s = self._clock(start_s, horizon_s)
        inner_s = float(np.interp(begin_s, time_s, operational_s))
        inner = self.stream.going_on(known, inner_s, float(operational_s[-1]), split)
        now_s = start_s + begin_s * self.time_compression
        return self.model_copy(update={"start_hour": now_s / 3600.0, "stream": inner})

    def _start_s(self, rng: np.random.Generator) -> float:
        """Where in the record the episode begins [s]."""
        drawn = rng.random() * self._profile.step_s * len(self._relative_rate)
        return drawn if self.start_hour is None else self.start_hour * SECONDS_PER_HOUR

    def _clock(self, start_s: float, horizon_s: float) -> tuple[FloatArray, FloatArray]:
        """Knots of the episode's time and of operational time, both from 0 [s]; the record repeats behind its end."""
        step_s = self._profile.step_s / self.time_compression
        begin_s = start_s / self.time_compression
        first = int(begin_s // step_s)
        steps = np.arange(first, int((begin_s + horizon_s) // step_s) + 1)
        edges_s = np.clip(np.append(steps, steps[-1] + 1) * step_s - begin_s, 0.0, horizon_s)
        rate = self._relative_rate[steps % len(self._relative_rate)]
        return edges_s, np.concatenate([[0.0], np.cumsum(rate * np.diff(edges_s))])

    @cached_property
    def _profile(self) -> RateProfileSpec:
        return RateProfileSpec.parse(load_entry("rate", self.profile, self.search_paths), where=f"rate.{self.profile}")

    @cached_property
    def _relative_rate(self) -> FloatArray:
        """Rate over its mean, of every step of the record."""
        rate = np.array(self._profile.requests_per_minute)
        relative: FloatArray = rate / rate.mean()
        return relative


def _value(stream: object, key: str) -> object:
    """A key of a stream, given as data or already built."""
    return stream.get(key) if isinstance(stream, dict) else getattr(stream, key, None)
