"""What a policy is told of the hours ahead, and how wrong it is.

Each slow signal has one path of error per episode: z(hour), of variance one. A forecast at a `lead` is the truth plus
`size(lead) * z(hour)`, with the hour that is forecast. So forecasts of one hour err to the same side, and ever less as
the hour comes near, like those of a weather service.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.layers.power.series.calendar import Calendar
from tokenfleet.envs.spec import GrowingSpec, NonNegativeFloat, PositiveFloat, Spec

Float64Array = NDArray[np.float64]
ErrorSize = Annotated[float, Field(ge=0, le=1e9)]


class DemandForecastSpec(Spec):
    """A forecast of how many requests arrive, for every class.

    The forecast is the arrivals within half a window before and after, over the window, times a lognormal error of mean
    one. At either end of the episode the window is moved inside. The error grows with the lead as in the other
    forecasts, along one path for each class. Requests that follow on others are not counted: when they come depends on
    the answers.

    Attributes:
        error_fraction: standard deviation of the logarithm of the error a day ahead; assumption.
        window_s: over which arrivals are counted [s of the episode].
    """

    error_fraction: NonNegativeFloat = 0.2
    window_s: PositiveFloat = 30.0


class EventForecastSpec(Spec):
    """How well a forecaster foresees what lowers caps, before anybody knows of it.

    The forecaster sees two signs of each event, drawn once per episode, and tells the chance that follows from both
    (`tokenfleet.envs.layers.power.outlook`). Forecasts of the peak day of a month held 69 of 72 peak days among the
    days with a chance above 3 % (Fu et al., Frontiers in Energy Research 10, 944804, 2022). With one day in thirty,
    that is a noise of 0.3. The hour of the peak was one of the two likeliest on 90 % of the days: an error of 0.6 h, or
    15 s where 144 hours pass in one. That curtailments are foreseen as well as peaks is an assumption.

    Attributes:
        noise: standard deviation of the sign of whether the event comes: 1 if it comes and 0 if not, plus noise.
        start_error_s: standard deviation of the estimate of its start [s of the episode]; less than a microsecond is
            none.
    """

    noise: ErrorSize = 0.3
    start_error_s: ErrorSize = 15.0


class ForecastSpec(GrowingSpec):
    """Standard deviation of the error one day ahead, and how it grows to there.

    Error grows as that of an Ornstein-Uhlenbeck process known up to now: sqrt(1 - exp(-2 lead / memory_h)). The sizes
    are assumptions of what a good service reaches; each lies below the error of saying "as yesterday" in every shipped
    year, as a test measures (carbon 5 to 25 %, temperature 2.5 to 4.5 C, irradiance 17 to 47 % of the daytime mean).

    Attributes:
        carbon_error_fraction: of the intensity.
        outdoor_error_c: of the temperature [C].
        solar_error_fraction: of the power.
        memory_h: memory of the error path, in the formula above [h].
        price_spread: whether the standard deviation of the real-time price around its forecast is told too.
        demand: forecast of demand; none by default.
        events: forecast of events that lower caps; none by default.
    """

    later: ClassVar[tuple[str, ...]] = ("events",)

    carbon_error_fraction: NonNegativeFloat = 0.05
    outdoor_error_c: NonNegativeFloat = 1.5
    solar_error_fraction: NonNegativeFloat = 0.15
    memory_h: PositiveFloat = 12.0
    price_spread: bool = False
    demand: DemandForecastSpec | None = None
    events: EventForecastSpec | None = None

    def growth(self, lead_h: float) -> float:
        """Size of the error at `lead_h` over its size at a day ahead.

        >>> spec = ForecastSpec(memory_h=12.0)
        >>> spec.growth(0.0), round(spec.growth(6.0), 2), spec.growth(24.0)
        (0.0, 0.8, 1.0)
        """
        return math.sqrt(math.expm1(-2.0 * lead_h / self.memory_h) / math.expm1(-48.0 / self.memory_h))

    def growth_over(self, lead_h: Float64Array) -> Float64Array:
        """`growth` at leads of any shape; 0 for those that have passed [h]."""
        reached: Float64Array = np.expm1(-2.0 * np.maximum(lead_h, 0.0) / self.memory_h)
        return np.sqrt(reached / math.expm1(-48.0 / self.memory_h))

    def draw_error(self, calendar: Calendar, end_s: float, rng: np.random.Generator) -> ErrorPath:
        """One path of error from the episode's start to `end_s`, the furthest time that is spoken of."""
        first, last = math.floor(calendar.start_h), math.ceil(calendar.start_h + calendar.hours_per_s * end_s)
        keep = math.exp(-1.0 / self.memory_h)
        noise = math.sqrt(1.0 - keep * keep)
        path = rng.standard_normal(last - first + 1)
        for i in range(1, len(path)):
            path[i] = keep * path[i - 1] + noise * path[i]
        return ErrorPath(first, path)


@dataclass(frozen=True)
class ErrorPath:
    """Error of variance one, by the hour that is forecast, linear between whole hours from `first_h` on."""

    first_h: int
    path: Float64Array

    def at(self, hour: Float64Array) -> Float64Array:
        """The error of what is said about `hour` [h after 1 January 00:00 UTC], of any shape."""
        return np.interp(hour, self.first_h + np.arange(len(self.path)), self.path)
