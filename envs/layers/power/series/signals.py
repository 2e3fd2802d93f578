"""Quantities that run through the year: a number, a recorded series, or a generator with a formula.

In a scenario a signal is a number, `{series: caiso-2023-price}`, or `{kind: <one of SIGNAL_KINDS>, ...}`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import CatalogSpec, load_series
from tokenfleet.envs.catalog.hourly import HourlySeries
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFraction, SpecError, suggest

Float64Array = NDArray[np.float64]

HOURS_PER_DAY = 24.0
DAYS_PER_YEAR = 365.0


class SignalSpec(CatalogSpec):
    """A quantity in time; subclasses say which.

    Attributes:
        kind: which of them it is.
    """

    kind: str

    @abstractmethod
    def at(self, hour: Float64Array) -> Float64Array:
        """Its value at `hour` [h after 1 January 00:00 UTC], of any shape."""

    @property
    @abstractmethod
    def lowest(self) -> float:
        """A bound that no value falls below."""


class SeriesSpec(SignalSpec):
    """A recorded year, linear between its hours: `offset + scale * value`.

    Attributes:
        series: its catalogue name.
        column: which of its columns; by default the one that carries the quantity's name.
        scale, offset: for a dearer, dirtier or hotter year than the recorded one; `offset` is in the quantity's unit.
    """

    kind: Literal["series"] = "series"
    series: Name
    column: Name
    scale: NonNegativeFloat = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _series_has_the_column(self) -> Self:
        columns = self._record.columns
        if self.column not in columns:
            unknown = f"series {self.series!r} has no column {self.column!r}{suggest(self.column, columns)}"
            raise SpecError([f"column: {unknown}"])
        return self

    def at(self, hour: Float64Array) -> Float64Array:
        """See `SignalSpec.at`."""
        return self.offset + self.scale * self._record.at(self.column, hour)

    @property
    def lowest(self) -> float:
        """See `SignalSpec.lowest`."""
        return self.offset + self.scale * float(self._record.columns[self.column].min())

    @cached_property
    def _record(self) -> HourlySeries:
        return load_series(self.series, self.search_paths)


class DiurnalSpec(SignalSpec):
    """Two cosines, of the day and of the year, around a mean.

    Attributes:
        mean: over the year, in the quantity's unit.
        daily_amplitude: half of the swing in a day.
        peak_hour: local standard hour of the daily peak; 15 is a usual one for air temperature.
        yearly_amplitude: half of the swing of the daily means in a year.
        peak_day: day of the year, from 0, of the yearly peak; 200 (20 July) is a usual one in the north.
        utc_offset_h: local standard time minus UTC [h].
    """

    kind: Literal["diurnal"] = "diurnal"
    mean: float
    daily_amplitude: NonNegativeFloat = 0.0
    peak_hour: float = 15.0
    yearly_amplitude: NonNegativeFloat = 0.0
    peak_day: float = 200.0
    utc_offset_h: float = 0.0

    def at(self, hour: Float64Array) -> Float64Array:
        """See `SignalSpec.at`.

        >>> day = DiurnalSpec(mean=20.0, daily_amplitude=5.0, peak_hour=15, utc_offset_h=-5)
        >>> day.at(np.array([20.0, 8.0])).tolist()
        [25.0, 15.0]
        """
        local = hour + self.utc_offset_h
        day_turn = (local - self.peak_hour) / HOURS_PER_DAY
        year_turn = (local / HOURS_PER_DAY - self.peak_day) / DAYS_PER_YEAR
        daily = self.daily_amplitude * np.cos(2.0 * np.pi * day_turn)
        return self.mean + daily + self.yearly_amplitude * np.cos(2.0 * np.pi * year_turn)

    @property
    def lowest(self) -> float:
        """See `SignalSpec.lowest`."""
        return self.mean - self.daily_amplitude - self.yearly_amplitude


class ClearSkySpec(SignalSpec):
    """Irradiance on a horizontal plane under a sky without clouds [W/m2]; for a place that nobody measured.

    Haurwitz (1945): 1098 cos z exp(-0.057 / cos z), z the zenith angle of the sun, from Cooper's (1969) declination
    23.45 deg sin(360 (284 + day) / 365) and the hour angle of mean solar time (the equation of time, at most 17
    minutes, is left out).

    Attributes:
        latitude_deg, longitude_deg: north and east positive.
        clearness: share of the clear sky's irradiance that arrives; 1 without clouds.
    """

    kind: Literal["clear_sky"] = "clear_sky"
    latitude_deg: float = Field(ge=-90, le=90)
    longitude_deg: float = Field(ge=-180, le=180)
    clearness: PositiveFraction = 1.0

    def at(self, hour: Float64Array) -> Float64Array:
        """See `SignalSpec.at`.

        >>> equator = ClearSkySpec(latitude_deg=0.0, longitude_deg=0.0)
        >>> noon, midnight = equator.at(np.array([79 * 24 + 12.0, 80 * 24.0]))  # 21 March
        >>> round(float(noon)), float(midnight)
        (1037, 0.0)
        """
        day = np.floor(hour / HOURS_PER_DAY) + 1.0
        declination = math.radians(23.45) * np.sin(2.0 * np.pi * (284.0 + day) / DAYS_PER_YEAR)
        solar_hour = hour + self.longitude_deg / 15.0
        hour_angle = 2.0 * np.pi * (solar_hour / HOURS_PER_DAY - 0.5)
        latitude = math.radians(self.latitude_deg)
        upright = math.sin(latitude) * np.sin(declination)
        cosine = upright + math.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
        above = np.maximum(cosine, 1e-3)  # the formula's value there is below 1e-21 W/m2
        return np.where(cosine > 1e-3, self.clearness * 1098.0 * above * np.exp(-0.057 / above), 0.0)

    @property
    def lowest(self) -> float:
        """See `SignalSpec.lowest`."""
        return 0.0


SIGNAL_KINDS: dict[str, type[SignalSpec]] = {"series": SeriesSpec, "diurnal": DiurnalSpec, "clear_sky": ClearSkySpec}


def is_constant(signal: float | SignalSpec) -> bool:
    """Whether a signal is a number."""
    return not isinstance(signal, SignalSpec)


def signal_at(signal: float | SignalSpec, hour: Float64Array) -> float | Float64Array:
    """The value of a signal at `hour` [h after 1 January 00:00 UTC], of any shape; of a number the number itself.

    >>> signal_at(60.0, np.zeros(2))
    60.0
    """
    return signal.at(hour) if isinstance(signal, SignalSpec) else signal


def _signal_of(quantity: str, minimum: float = -math.inf) -> Callable[[Any], float | SignalSpec]:
    """A validator that builds a signal of `quantity`, read from the column of that name; no value below `minimum`."""

    def build(data: Any) -> float | SignalSpec:
        signal = _build_signal(data, quantity)
        lowest = signal.lowest if isinstance(signal, SignalSpec) else signal
        if not lowest >= minimum:
            raise ValueError(f"must not fall below {minimum:g} (its lowest value is {lowest:g})")
        return signal

    return build


def _build_signal(data: Any, quantity: str) -> float | SignalSpec:
    if isinstance(data, SignalSpec):
        return data
    if isinstance(data, dict):
        kind = str(data.get("kind", "series"))
        if kind not in SIGNAL_KINDS:
            raise SpecError([f"kind: unknown kind of signal {kind!r}{suggest(kind, SIGNAL_KINDS)}"])
        column = {"column": quantity} if kind == "series" else {}
        return SIGNAL_KINDS[kind].parse({**column, **data})
    try:
        number = math.nan if isinstance(data, bool) else float(data)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"must be a number, or a mapping such as {{series: name}} (got {data!r})")
    return number


def _dump_signal(signal: float | SignalSpec) -> Any:
    return signal.model_dump(mode="json") if isinstance(signal, SignalSpec) else signal


_Signal = Annotated[float | SignalSpec, PlainSerializer(_dump_signal)]
PriceSignal = Annotated[_Signal, BeforeValidator(_signal_of("price_usd_per_mwh"))]
CarbonSignal = Annotated[_Signal, BeforeValidator(_signal_of("carbon_g_per_kwh", 0.0))]
TemperatureSignal = Annotated[_Signal, BeforeValidator(_signal_of("dry_bulb_c", -100.0))]
IrradianceSignal = Annotated[_Signal, BeforeValidator(_signal_of("global_horizontal_w_m2", 0.0))]
