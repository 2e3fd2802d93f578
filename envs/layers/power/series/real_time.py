"""What a real-time market adds to the day-ahead price: a wandering residual, and spikes that die away."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.layers.power.series.calendar import Calendar
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, Spec

Float64Array = NDArray[np.float64]

SETTLEMENT_H = 1.0 / 12.0
"""American real-time markets dispatch every five minutes; the price holds in between."""
WARM_UP_DECAYS = 5.0


class SpikeHeatSpec(Spec):
    """More spikes on hot days: load is high and power stations fail.

    Attributes:
        from_c: outdoor temperature above which spikes get more frequent [C].
        rate_per_k: growth of the spikes' rate with each K above, as a share of the usual rate; assumption [1/K].
    """

    from_c: Annotated[float, Field(ge=-100, le=100)] = 30.0
    rate_per_k: PositiveFloat = 0.3

    def rate_factor(self, outdoor_c: float | Float64Array) -> Float64Array:
        """Factor on the usual rate of spikes, in the shape of `outdoor_c`.

        >>> SpikeHeatSpec(from_c=30.0, rate_per_k=0.5).rate_factor(np.array([20.0, 34.0])).tolist()
        [1.0, 3.0]
        """
        return 1.0 + self.rate_per_k * np.maximum(np.asarray(outdoor_c) - self.from_c, 0.0)


class RealTimePriceSpec(Spec):
    """Residual of the real-time price around the day-ahead price [USD/MWh]: r = x + j - mean(j).

    x is an Ornstein-Uhlenbeck process, dx = -reversion x dt + sigma sqrt(2 reversion) dW; j jumps up by exponential
    amounts at the times of a Poisson process and decays exponentially. Without `heat` and calls r has mean zero: a
    market without a premium.

    The defaults are fitted to the one shipped price that moves like a real-time price, PJM 2023, around its own median
    of the same hour in the week before and after (`python -m calibration.fit.real_time_price`); a residual against
    published day-ahead prices would be better data.

    Attributes:
        sigma_usd_per_mwh: standard deviation of x.
        reversion_per_h: how fast x returns.
        spikes_per_h: rate of jumps.
        spike_usd_per_mwh: mean jump.
        spike_decay_per_h: how fast j dies away.
        shared_fraction: share of the jumps that come to all sites with such a share at the same time, in proportion to
            their own mean jumps: neighbouring markets spike together (E. Lindstroem, F. Regland, "Modeling extreme
            dependence between European electricity markets", Energy Economics 34, 2012). The law of each site stays.
        heat: more jumps in heat; mean(j) does not count them.
        call_spike_usd_per_mwh: jump when a demand-response event or an emergency of the site begins, for an operator
            calls when prices are high [USD/MWh]; once the event is announced, the forecast contains the jump.
    """

    sigma_usd_per_mwh: NonNegativeFloat = 7.4
    reversion_per_h: PositiveFloat = 0.23
    spikes_per_h: NonNegativeFloat = 0.053
    spike_usd_per_mwh: NonNegativeFloat = 40.5
    spike_decay_per_h: PositiveFloat = 0.38
    shared_fraction: PositiveFraction | None = None
    heat: SpikeHeatSpec | None = None
    call_spike_usd_per_mwh: PositiveFloat | None = None

    @property
    def mean_spike_usd_per_mwh(self) -> float:
        """Mean of j: rate times mean jump over decay."""
        return self.spikes_per_h * self.spike_usd_per_mwh / self.spike_decay_per_h

    @property
    def shared_per_h(self) -> float:
        """Rate of the jumps that come to several sites at once, without heat."""
        return self.spikes_per_h * (self.shared_fraction or 0.0)

    def draw(
        self, calendar: Calendar, time_s: Float64Array, rng: np.random.Generator, around: Surroundings | None = None
    ) -> Residual:
        """One path, at the increasing `time_s` of the episode, all chance but that of `around` drawn from `rng`."""
        hour = calendar.hour(time_s)
        interval = np.floor(hour / SETTLEMENT_H).astype(np.int64)
        warm_up = math.ceil(WARM_UP_DECAYS / (self.spike_decay_per_h * SETTLEMENT_H))
        count = int(interval[-1] - interval[0]) + 1
        wander = self._wander(rng.standard_normal(count))
        jumps = self._jumps(rng, warm_up + count, around, int(interval[0]) - warm_up)
        spike = _decayed_sum(jumps, math.exp(-self.spike_decay_per_h * SETTLEMENT_H))[warm_up:]
        row = interval - interval[0]
        return Residual(self, wander[row], spike[row] - self.mean_spike_usd_per_mwh)

    def go_on(
        self,
        path: Residual,
        tick: int,
        calendar: Calendar,
        time_s: Float64Array,
        rng: np.random.Generator,
        around: Surroundings | None = None,
    ) -> Residual:
        """A path: `path` up to entry `tick`, then a continuation drawn from `rng`.

        The value at `tick` holds to the end of its settlement interval.

        Args:
            path: drawn at the same `time_s`.
            tick: the last entry that is kept.
            calendar: of the episode.
            time_s: as for `draw`.
            rng: decides what follows.
            around: decides what follows at several sites.
        """
        interval = np.floor(calendar.hour(time_s) / SETTLEMENT_H).astype(np.int64)
        row = interval[tick + 1 :] - interval[tick]
        count = int(row[-1]) if len(row) else 0
        keep = math.exp(-self.reversion_per_h * SETTLEMENT_H)
        noise = self.sigma_usd_per_mwh * _noise(keep) * rng.standard_normal(count)
        wander = _decayed_sum(np.r_[path.wander[tick], noise], keep)
        begun = path.spike[tick] + self.mean_spike_usd_per_mwh
        spike = _decayed_sum(
            np.r_[begun, self._jumps(rng, count, around, int(interval[tick]) + 1)],
            math.exp(-self.spike_decay_per_h * SETTLEMENT_H),
        )
        return Residual(
            self,
            np.concatenate([path.wander[: tick + 1], wander[row]]),
            np.concatenate([path.spike[: tick + 1], spike[row] - self.mean_spike_usd_per_mwh]),
        )

    def _wander(self, normal: Float64Array) -> Float64Array:
        keep = math.exp(-self.reversion_per_h * SETTLEMENT_H)
        return self.sigma_usd_per_mwh * _decayed_sum(normal * np.r_[1.0, np.full(len(normal) - 1, _noise(keep))], keep)

    def _jumps(
        self, rng: np.random.Generator, count: int, around: Surroundings | None, first_interval: int
    ) -> Float64Array:
        """By how much the price jumps in each of `count` settlement intervals from `first_interval` on."""
        around = around or Surroundings()
        factor = around.rate_factor(self, first_interval, count)
        jumps = rng.poisson((self.spikes_per_h - self.shared_per_h) * SETTLEMENT_H * factor, count)
        # A sum of exponentials is a gamma variate; shape 0 is no jump.
        own = np.where(jumps > 0, self.spike_usd_per_mwh * rng.standard_gamma(np.maximum(jumps, 1)), 0.0)
        return own if around.shared is None else own + around.shared.jumps(self, factor, first_interval)

    def call_spike(self, calendar: Calendar, time_s: Float64Array, start_s: float) -> Float64Array:
        """What is left at `time_s` of the jump when an event begins at `start_s`, of any shape [USD/MWh]."""
        after_h = np.floor(calendar.hour(time_s) / SETTLEMENT_H) - np.floor(
            calendar.hour(np.array(start_s)) / SETTLEMENT_H
        )
        left = np.exp(-self.spike_decay_per_h * SETTLEMENT_H * np.maximum(after_h, 0.0))
        return np.where(time_s >= start_s, (self.call_spike_usd_per_mwh or 0.0) * left, 0.0)

    def deviation(self, lead_h: float) -> float:
        """Standard deviation of what the residual will be in `lead_h`, given the present [USD/MWh].

        The variance of the wander is sigma^2 (1 - exp(-2 reversion lead)). That of the jumps to come, with a mean
        square of twice the square of their mean, is rate mean^2 / decay (1 - exp(-2 decay lead)).

        >>> RealTimePriceSpec().deviation(0.0)
        0.0
        >>> round(RealTimePriceSpec(spikes_per_h=0.0).deviation(1000.0), 3)
        7.4
        """
        wander = -(self.sigma_usd_per_mwh**2) * math.expm1(-2.0 * self.reversion_per_h * lead_h)
        spikes = self.spikes_per_h * self.spike_usd_per_mwh**2 / self.spike_decay_per_h
        return math.sqrt(wander - spikes * math.expm1(-2.0 * self.spike_decay_per_h * lead_h))


@dataclass(frozen=True)
class SharedJumps:
    """Jumps that come to several sites at once.

    Each jump has a mark. A site takes the jumps with a mark below its own rate over the highest rate, which gives every
    site the rate of its own law.

    Attributes:
        rate_per_h: the highest rate of shared jumps of all sites, heat included.
        interval: settlement interval of each jump.
        mark: uniform in [0, 1).
        size: over the mean jump of a site, exponential of mean one.
    """

    rate_per_h: float
    interval: NDArray[np.int64]
    mark: Float64Array
    size: Float64Array

    @classmethod
    def draw(cls, rate_per_h: float, first_interval: int, count: int, rng: np.random.Generator) -> SharedJumps:
        """Jumps of `count` settlement intervals from `first_interval` on."""
        number = rng.poisson(rate_per_h * SETTLEMENT_H, count)
        interval = np.repeat(first_interval + np.arange(count), number)
        return cls(rate_per_h, interval, rng.random(len(interval)), rng.standard_exponential(len(interval)))

    def jumps(self, spec: RealTimePriceSpec, factor: Float64Array, first_interval: int) -> Float64Array:
        """Jumps of a site's price in each settlement interval from `first_interval` on, `[intervals]` [USD/MWh].

        Args:
            spec: its law.
            factor: on its usual rate in each of these intervals.
            first_interval: the first of them.
        """
        total = np.zeros(len(factor))
        place = self.interval - first_interval
        inside = (place >= 0) & (place < len(factor))
        taken = inside.copy()
        taken[inside] = self.mark[inside] * self.rate_per_h < spec.shared_per_h * factor[place[inside]]
        np.add.at(total, place[taken], spec.spike_usd_per_mwh * self.size[taken])
        return total


@dataclass(frozen=True)
class Surroundings:
    """What the jumps of a site's price depend on beside its law.

    Attributes:
        shared: jumps that come to several sites; None for none.
        outdoor_c: the temperature at an hour of the year; None where it does not matter.
    """

    shared: SharedJumps | None = None
    outdoor_c: Callable[[Float64Array], float | Float64Array] | None = None

    def rate_factor(self, spec: RealTimePriceSpec, first_interval: int, count: int) -> Float64Array:
        """Factor on the usual rate of jumps in each of `count` settlement intervals, `[count]`."""
        if spec.heat is None or self.outdoor_c is None:
            return np.ones(count)
        hour: Float64Array = SETTLEMENT_H * (first_interval + np.arange(count, dtype=np.float64))
        return np.broadcast_to(spec.heat.rate_factor(self.outdoor_c(hour)), count)


@dataclass(frozen=True)
class Residual:
    """A path of the residual.

    Attributes:
        spec: its law.
        wander, spike: its two parts at the asked times, x and j - mean(j) [USD/MWh].
    """

    spec: RealTimePriceSpec
    wander: Float64Array
    spike: Float64Array

    @property
    def now(self) -> Float64Array:
        """The residual itself [USD/MWh]."""
        return self.wander + self.spike

    def expected(self, lead_h: float) -> Float64Array:
        """What is left of it after `lead_h` on average, given the present: the best forecast [USD/MWh]."""
        wander = self.wander * math.exp(-self.spec.reversion_per_h * lead_h)
        return wander + self.spike * math.exp(-self.spec.spike_decay_per_h * lead_h)


def _noise(keep: float) -> float:
    """The standard deviation that keeps x[i + 1] = keep x[i] + noise at variance one."""
    return math.sqrt(1.0 - keep * keep)


def _decayed_sum(amounts: Float64Array, keep: float) -> Float64Array:
    """y[i] = keep y[i - 1] + amounts[i].

    >>> _decayed_sum(np.array([4.0, 0.0, 1.0]), 0.5).tolist()
    [4.0, 2.0, 2.0]
    """
    total, sums = 0.0, []
    for amount in amounts.tolist():
        total = keep * total + amount
        sums.append(total)
    return np.array(sums)
