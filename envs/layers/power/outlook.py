"""The chance that an event lowers a cap at a time ahead, as a calibrated forecaster tells it.

The forecaster knows the law of the event, two signs of the event, and that nobody knows of it yet:

    sign     = 1 if the event comes, else 0, + noise * Normal(0, 1)
    estimate = start + start_error_s * Normal(0, 1)

Both signs are drawn once per episode. By Bayes, the sign turns the prior odds p / (1 - p) of coming into

    q / (1 - q) = p / (1 - p) * exp((sign - 1/2) / noise^2)

and the estimate turns the uniform start into a Normal(estimate, start_error_s) that is cut to the window. Let m(A) be
the mass of this cut normal in A, and U the starts that nobody would know of at `now`: those after now + notice. Then

    chance that it comes           = q m(U) / (q m(U) + 1 - q)
    chance that it holds at `then` = chance that it comes * m(U and (then - length, then]) / m(U)

As time passes without news, m(U) shrinks, and with it the chance of an event that may not come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.events import CapEvent, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.layers.power.series import EventForecastSpec

Float64Array = NDArray[np.float64]

_NARROW = 1e-5
"""Width in standard deviations below which a normal density is taken as constant; a difference of two values of its
integral would lose more digits."""
_EXACT_S = 1e-6
"""Error of an estimate below which it is the start itself [s]."""


@dataclass(frozen=True)
class Outlook:
    """What a forecaster makes of one event of one episode.

    Attributes:
        spec: law of the event.
        log_odds: logarithm of the odds that it comes, by the law and the sign alone; infinite where that is sure.
        start: what is thought of its start if it comes.
    """

    spec: DemandResponseSpec | EmergencySpec
    log_odds: float
    start: StartLaw

    @classmethod
    def draw(
        cls,
        spec: DemandResponseSpec | EmergencySpec,
        forecast: EventForecastSpec,
        event: CapEvent,
        rng: np.random.Generator,
    ) -> Outlook:
        """Draw both signs of an event; two numbers of `rng`."""
        noise, miss = rng.standard_normal(2)
        sign = float(event.comes) + forecast.noise * noise
        prior = spec.probability if spec.deepest_fraction > 0.0 else 0.0
        with np.errstate(divide="ignore", over="ignore"):
            log_odds = float(np.log(prior) - np.log1p(-prior) + np.divide(sign - 0.5, np.square(forecast.noise)))
        start_s, error_s = event.start_s, forecast.start_error_s
        if error_s < _EXACT_S:
            return cls(spec, log_odds, StartLaw(start_s, start_s, start_s, error_s))
        window = StartLaw(spec.earliest_start_s, spec.latest_start_s, start_s + error_s * miss, error_s)
        return cls(spec, log_odds, window)

    def chance(self, event: CapEvent, now_s: Float64Array, lead_s: float) -> Float64Array:
        """Chance, told at `now_s`, that the event is in force `lead_s` later, in the shape of `now_s`.

        An event that is announced or has begun is told as it is: 1 or 0.
        """
        then_s = now_s + lead_s
        left, low_s = self._left(now_s)
        in_force = self.start.log_mass(np.maximum(low_s, then_s - event.length_s), then_s)
        is_open = left > -np.inf
        share = np.exp(np.minimum(np.subtract(in_force, left, where=is_open, out=np.full_like(left, -np.inf)), 0.0))
        return np.where(event.is_known(now_s), event.is_in_force(then_s), self.comes(now_s) * share)

    def comes(self, now_s: Float64Array) -> Float64Array:
        """Chance that the event is still to come, if nobody knows of it at `now_s`, in the shape of `now_s`."""
        from scipy.special import expit  # costs 0.1 s to import; only forecasts of events pay it

        left, _ = self._left(now_s)
        chance: Float64Array = expit(np.where(left > -np.inf, self.log_odds, -np.inf) + left - self.start.log_all)
        return chance

    def other_event(self, now_s: float, rng: np.random.Generator) -> CapEvent:
        """Another event that agrees with both signs, if nobody knows of one at `now_s`."""
        now = np.array(now_s)
        comes = bool(rng.random() < self.comes(now))
        start_s = self.start.after(float(self._left(now)[1]), rng.random())
        return self.spec.at(start_s, comes, rng)

    def _left(self, now_s: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Log mass of the starts that are left if nobody knows of the event at `now_s`, and what they lie above [s]."""
        latest_s, notice_s = self.start.latest_s, self.spec.notice_s
        is_open = now_s < latest_s - notice_s  # as in `CapEvent.is_known`, rounding included
        low_s = np.where(is_open, np.minimum(now_s + notice_s, np.nextafter(latest_s, -np.inf)), latest_s)
        return self.start.log_mass(low_s, np.array(latest_s)), low_s


@dataclass(frozen=True)
class StartLaw:
    """A normal start that is cut to a window; a window of no width is the start itself.

    Attributes:
        earliest_s, latest_s: the window [s].
        estimate_s, error_s: mean and standard deviation before the cut [s].
    """

    earliest_s: float
    latest_s: float
    estimate_s: float
    error_s: float

    @property
    def log_all(self) -> float:
        """Logarithm of the mass of the whole window."""
        return float(self.log_mass(np.array(-np.inf), np.array(self.latest_s)))

    def log_mass(self, low_s: Float64Array, high_s: Float64Array) -> Float64Array:
        """Logarithm of the mass in (low_s, high_s] and the window, up to a constant; -inf for none.

        >>> law = StartLaw(0.0, 40.0, estimate_s=10.0, error_s=10.0)
        >>> np.exp(law.log_mass(np.array([0.0, 30.0]), np.array([20.0, 50.0]))).round(4).tolist()
        [0.6827, 0.0214]
        """
        if self.earliest_s == self.latest_s:
            return np.where((low_s < self.latest_s) & (self.latest_s <= high_s), 0.0, -np.inf)
        low_s = np.clip(low_s, self.earliest_s, self.latest_s)
        high_s = np.maximum(np.clip(high_s, self.earliest_s, self.latest_s), low_s)
        return _log_normal_mass((low_s - self.estimate_s) / self.error_s, (high_s - low_s) / self.error_s)

    def after(self, low_s: float, share: float) -> float:
        """The start up to which lies this share of the mass behind `low_s`; the latest one if there is no mass."""
        from scipy.special import log_ndtr, ndtri_exp  # costs 0.1 s to import; only forecasts of events pay it

        low_s = max(low_s, self.earliest_s)
        if low_s >= self.latest_s:
            return self.latest_s
        ends = (np.array([low_s, self.latest_s]) - self.estimate_s) / self.error_s
        side = 1.0 if ends[0] < 0.0 else -1.0  # a mirror image, so that no mass is next to 1
        with np.errstate(divide="ignore"):
            log_below = np.logaddexp(*(log_ndtr(side * ends) + np.log([1.0 - share, share])))
        start_s = self.estimate_s + self.error_s * side * float(ndtri_exp(log_below))
        return float(np.clip(start_s, np.nextafter(low_s, np.inf), self.latest_s))


def _log_normal_mass(low: Float64Array, width: Float64Array) -> Float64Array:
    """Logarithm of the standard normal mass in (low, low + width], without loss of digits in either tail.

    >>> float(_log_normal_mass(np.array(38.0), np.array(1.0)).round(2))
    -726.56
    >>> float(_log_normal_mass(np.array(0.0), np.array(1e-20)).round(2))
    -46.97
    """
    from scipy.special import log_ndtr  # costs 0.1 s to import; only forecasts of events pay it

    middle = low + 0.5 * width
    left = np.where(middle > 0.0, -low - width, low)  # of the interval or its mirror image, below zero
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = log_ndtr(left + width)
        wide = upper + np.log1p(-np.exp(log_ndtr(left) - upper))
        narrow = np.log(width) - 0.5 * np.square(middle) - 0.5 * math.log(2.0 * math.pi)
    return np.where(width < _NARROW, narrow, wide)
